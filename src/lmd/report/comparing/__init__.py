"""The page of a comparison, or of a recorded training."""
