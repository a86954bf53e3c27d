"""Tensors to tensors; knows no network."""
