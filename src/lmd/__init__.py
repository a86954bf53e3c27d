"""Layer Matrix Decomposition: what each layer's weight matrices encode."""

__version__ = "0.1.0"
