"""Numbers stored in blocks: how many bits each has, what they stand for, and how far rounding may have moved them."""
