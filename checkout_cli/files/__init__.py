"""The tool's own files: written as a whole or not at all, and private."""
