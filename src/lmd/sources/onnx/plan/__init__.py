"""What the nodes of a graph are: layers with weights, constants of constants, or operations. Needs no torch."""
