"""The file: its messages, its tensors, its functions, as records."""
