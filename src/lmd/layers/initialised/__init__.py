"""How weights usually start."""
