"""State spaces: how fast each state forgets, what goes into the states and what is read from them."""
