"""What training added to a layer: adapters, and differences to another network."""
