"""A layer against itself at another time."""
