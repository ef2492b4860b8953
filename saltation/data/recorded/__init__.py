"""Readers of recorded spikes, in the layouts of their publishers."""
