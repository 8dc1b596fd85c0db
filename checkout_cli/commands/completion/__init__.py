"""Completions for bash, zsh and fish, written from the command tree: no Python runs when somebody presses TAB."""

from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "completion",
    place=48,
    summary="Complete commands, options and ids in bash, zsh and fish.",
    example="checkoutctl completion install",
    uses=(
        Use("show", "reader", run="bash"),
        Use("install", "reader", run="--shell fish --dry-run"),
    ),
    examples={
        "show": "checkoutctl completion show zsh",
        "install": "checkoutctl completion install --shell fish",
    },
)
