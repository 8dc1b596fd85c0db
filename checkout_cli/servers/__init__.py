"""What a Redis server and its machine say of themselves, and the server that comes along."""
