"""Tensors to tensors: spectra, triples, random-matrix baselines. Knows no network."""
