"""Checks of the group ``connection``."""
