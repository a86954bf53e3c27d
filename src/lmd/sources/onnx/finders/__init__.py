"""Nodes that are layers: what each holds and how it is called."""
