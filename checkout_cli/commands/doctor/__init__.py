"""``checkoutctl doctor``: every check is one small unit in one of the modules here that are named for their group."""
