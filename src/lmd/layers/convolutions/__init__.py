"""Convolutions as kernels, operators and symbols."""
