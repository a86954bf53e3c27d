"""What a linear map does as a motion of space."""
