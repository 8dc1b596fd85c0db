"""Checks of the group ``sessions``."""
