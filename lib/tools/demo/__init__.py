"""The demonstration: a cluster on this machine, a guest on it, and what one does with it."""
