"""What the kinds of attention share: where projections lie, how many heads there are, what each one does."""
