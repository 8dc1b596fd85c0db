"""``checkoutctl acl``."""
