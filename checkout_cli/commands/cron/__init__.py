"""``checkoutctl cron``."""
