"""Loops compiled by numba: float32 on a CPU. Imports numba only once one of them runs."""
