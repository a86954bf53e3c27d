"""Networks that other frameworks stored as a graph of operations, as torch modules that run."""
