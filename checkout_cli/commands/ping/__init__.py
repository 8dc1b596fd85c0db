"""``checkoutctl ping``."""
