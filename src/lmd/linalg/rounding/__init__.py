"""Rounding of the entries of a matrix, and what it does to its singular directions."""
