"""Checks of the group ``jobs``."""
