"""Keras layers as torch modules and steps."""
