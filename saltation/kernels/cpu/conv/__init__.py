"""Convolutions of spikes."""
