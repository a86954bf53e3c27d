"""One file for each group of layer classes: their modules, their loaders and the steps of a call."""
