"""What a Keras configuration says: layers, how often and on what each is called."""
