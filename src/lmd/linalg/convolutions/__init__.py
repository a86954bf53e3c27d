"""Convolutions as linear maps: the operator, its bounds, its symbol."""
