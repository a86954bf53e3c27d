"""Layers of one matrix: dense, embeddings, normalisations, activations, bilinear maps, raw parameters."""
