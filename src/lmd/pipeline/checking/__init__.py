"""A network against limits that its owner set."""
