"""One figure per kind of finding."""
