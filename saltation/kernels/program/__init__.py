"""A neuron's step as a graph of operations, and the reverse sweep over it; no backend in it."""
