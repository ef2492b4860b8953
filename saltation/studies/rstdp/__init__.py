"""The R-STDP study: what a network learns without gradients."""
