"""Checks of the group ``speed``."""
