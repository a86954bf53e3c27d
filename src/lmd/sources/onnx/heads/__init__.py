"""Attention in a graph of operations: which layers are its projections, and how many heads it has."""
