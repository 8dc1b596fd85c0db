"""Checks of the group ``database``."""
