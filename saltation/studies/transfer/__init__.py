"""The transfer study: a network trained at one dt, run at others."""
