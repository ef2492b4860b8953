"""The engine of the studies: what a study says, how it is run, its record, workers and progress."""
