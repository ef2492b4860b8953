"""Time loops on a GPU, printed as Triton text from the programs that the CPU's are made of."""
