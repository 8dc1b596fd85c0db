"""The settings, where each comes from, and the addresses and URLs in them."""
