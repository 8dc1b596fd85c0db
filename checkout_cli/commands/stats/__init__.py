"""``checkoutctl stats``."""
