"""The integrators study: which scheme and step train a spiking network?"""
