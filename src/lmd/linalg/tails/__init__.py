"""How the largest of many numbers fall off."""
