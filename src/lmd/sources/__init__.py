"""Any trained model to a Network; one file per format."""
