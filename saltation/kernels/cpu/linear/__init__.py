"""Products of spikes with weights, and layers of neurons that they drive."""
