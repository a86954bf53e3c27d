"""The command that checks, and its table."""
