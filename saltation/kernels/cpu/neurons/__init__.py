"""Time loops of neurons."""
