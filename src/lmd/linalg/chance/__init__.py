"""What random matrices and rounding would show."""
