"""Checks of the group ``serving``."""
