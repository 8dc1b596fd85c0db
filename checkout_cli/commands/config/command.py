"""``checkoutctl config``."""

from __future__ import annotations

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import Report, current

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command()
def show(as_json: options.Json = False) -> None:
    """Show every setting, its value and where it comes from; secrets are masked.

    Strongest first: flag, environment, .env.local, .env, default.
    """
    from checkout_cli.commands.config import view as config_view
    from checkout_cli.commands.config.check import configuration

    context = current()
    settings = configuration(context.directory, flags=context.flags).values()
    if as_json:
        config_view.write_settings(settings)
    else:
        config_view.show_settings(settings)


@app.command()
def check(as_json: options.Json = False) -> Report:
    """Name everything that is wrong with the settings, each with its fix. Asks no server.

    Exit code 78 where there is an error, 1 where there are only warnings.
    """
    from checkout_cli.commands.config import check as config_check
    from checkout_cli.commands.config import view as config_view

    context = current()
    report = config_check.check(context.directory, flags=context.flags)
    if as_json:
        config_view.write_report(report)
    else:
        config_view.show_report(report)
    return report
