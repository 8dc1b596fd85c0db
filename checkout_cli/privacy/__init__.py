"""What must not leave: the data of cards."""
