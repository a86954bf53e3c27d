"""Words on the command line to one of the calls."""
