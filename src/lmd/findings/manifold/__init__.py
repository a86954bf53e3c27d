"""Where the data lie in a layer's singular directions."""
