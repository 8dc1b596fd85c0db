"""The store's protocol without any I/O: what a value is, whether it may be trusted, and what to do next.

The decisions that ARCHITECTURE.md names are made here and nowhere else. The tiers carry them out; the model
(``tests/model``) runs the same functions.
"""
