"""Spikes as bits and as lists of places: drawing, finding and packing them."""
