"""Calls of functions in an answer, in whatever way a model writes them."""
