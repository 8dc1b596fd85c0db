"""``checkoutctl latency``."""
