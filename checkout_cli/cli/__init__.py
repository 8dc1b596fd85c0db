"""The commands: each parses, calls one operation and hands the result to be rendered."""
