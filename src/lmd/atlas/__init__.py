"""All findings about a network: collected, saved, loaded, turned into rows."""
