"""``checkoutctl cache``."""
