"""How many directions a layer uses."""
