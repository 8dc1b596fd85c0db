"""``checkoutctl cleanup``."""
