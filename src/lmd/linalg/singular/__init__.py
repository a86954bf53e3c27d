"""Singular values and vectors: exact, thin, randomised, by Lanczos."""
