"""The store: Redis, the database and memory, and the protocol that ties them together."""
