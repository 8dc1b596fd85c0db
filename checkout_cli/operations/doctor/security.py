"""Checks of the group ``security``."""
