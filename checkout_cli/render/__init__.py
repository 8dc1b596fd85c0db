"""How results look: tables, JSON, NDJSON, CSV and progress; every untrusted value is made safe for a terminal."""
