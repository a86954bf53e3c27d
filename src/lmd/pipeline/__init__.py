"""The order of work: a model in, an atlas out."""
