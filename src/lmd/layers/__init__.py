"""A Network to its LayerMatrices; one file per kind."""
