"""The remedies study: which remedy makes which network learn?"""
