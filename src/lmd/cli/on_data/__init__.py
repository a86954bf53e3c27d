"""Data on the command line: the options, and what was found as tables."""
