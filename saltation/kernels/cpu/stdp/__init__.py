"""Learning from pairs of spikes, and layers in which neurons compete."""
