"""A Network and data to Activations: what goes into a layer."""
