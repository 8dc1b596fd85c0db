"""``checkoutctl memory``."""

from __future__ import annotations

import typer

from checkout_cli.cli.memory_tune import tune

app = typer.Typer(help="See and tune the memory of Redis.", no_args_is_help=True, rich_markup_mode=None)
app.callback()(lambda: None)
app.command("tune")(tune)
