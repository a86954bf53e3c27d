"""torch's layers, called in Keras's way."""
