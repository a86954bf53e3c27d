"""What Keras computes without weights, as functions of torch tensors."""
