"""Keras files: HDF5 and zip archives, read without Keras."""
