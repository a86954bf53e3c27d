"""One file for each form that data come in."""
