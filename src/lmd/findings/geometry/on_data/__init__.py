"""What a layer does on the data that it meets."""
