"""The database: the tier, its tables and their steps, the flush log, and operators' queries."""
