"""What a matrix does as a motion of space: rotation, stretch, resolvent, and the units that carry it."""
