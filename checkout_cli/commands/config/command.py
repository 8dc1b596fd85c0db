"""``checkoutctl config``."""

from __future__ import annotations

import typer

from checkout_cli.arguments.context import JsonOption, Report, context_of

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command()
def show(typer_context: typer.Context, as_json: JsonOption = False) -> None:
    """Show every setting, its value and where it comes from; secrets are masked.

    Strongest first: flag, environment, .env.local, .env, default.
    """
    from checkout_cli.commands.config import view as config_view
    from checkout_cli.commands.config.check import configuration

    context = context_of(typer_context)
    settings = configuration(context.directory, flags=context.flags).values()
    if as_json:
        config_view.write_settings(settings)
    else:
        config_view.show_settings(settings)


@app.command()
def check(typer_context: typer.Context, as_json: JsonOption = False) -> Report:
    """Name everything that is wrong with the settings, each with its fix. Asks no server.

    Exit code 78 where there is an error, 1 where there are only warnings.
    """
    from checkout_cli.commands.config import check as config_check
    from checkout_cli.commands.config import view as config_view

    context = context_of(typer_context)
    report = config_check.check(context.directory, flags=context.flags)
    if as_json:
        config_view.write_report(report)
    else:
        config_view.show_report(report)
    return report
