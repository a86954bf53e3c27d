"""Which stored array is which variable of which layer."""
