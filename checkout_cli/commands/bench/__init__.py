"""``checkoutctl bench``: the specification's performance claims, measured on the user's own servers in one run."""
