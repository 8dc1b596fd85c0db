"""What an operator does. Operations return dataclasses and never print."""
