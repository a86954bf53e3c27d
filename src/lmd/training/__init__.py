"""What happens to the layers while a network is trained."""
