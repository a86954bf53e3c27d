"""What a layer does: norms, conditioning, and its distance to noise."""
