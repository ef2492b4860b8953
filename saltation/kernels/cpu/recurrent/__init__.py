"""Neurons whose spikes feed back."""
