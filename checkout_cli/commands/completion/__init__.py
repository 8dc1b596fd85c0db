"""Completions for bash, zsh and fish, written from the command tree: no Python runs when somebody presses TAB."""
