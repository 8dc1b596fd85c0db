"""Bounded work: locks, heartbeats, cursors, and giving way to the shop."""
