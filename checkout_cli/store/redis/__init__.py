"""Redis: the tier, its scripts, the index, and the connections to every kind of server."""
