"""Examples from wherever they lie, in batches, again and again; nothing here knows a network."""
