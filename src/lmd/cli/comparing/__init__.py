"""`lmd compare`."""
