"""What a layer has beyond chance: random matrices, shuffled weights and rounding beside it."""
