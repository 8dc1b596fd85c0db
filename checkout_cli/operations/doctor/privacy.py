"""Checks of the group ``privacy``."""
