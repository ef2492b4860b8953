"""Accuracy against reference solutions, and advice."""
