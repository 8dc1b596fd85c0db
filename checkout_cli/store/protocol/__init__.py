"""The store's protocol, without any I/O: what a value is, whether it may be trusted, and what is to be done next.

Every decision that ARCHITECTURE.md names is in one of these modules, and nowhere else. The tiers only carry them out;
the model (``tests/model``) and the property tests talk to the same functions.
"""
