"""``checkoutctl config``."""

from __future__ import annotations

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import current

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command()
def show(as_json: options.Json = False) -> None:
    """Show every setting, its value and where it comes from; secrets are masked.

    Strongest first: flag, environment, .env.local, .env, default. Other environment files, as the .env.production of
    Next.js, are not read, but named.
    """
    from checkout_cli.commands.config.view import show_settings
    from checkout_cli.config.settings import resolve, unread_env_files

    context = current()
    context.note_defaults()
    settings = resolve(directory=context.directory, flags=context.flags)
    show_settings(list(settings.values()), unread_env_files(context.directory), as_json=as_json)


@app.command()
def check(explain: options.Explain = None, as_json: options.Json = False) -> int:
    """Name everything that is wrong with the settings, each with its fix. Asks no server.

    Exit code 78 where there is an error, 1 where there are only warnings.
    """
    from checkout_cli.commands.config import check as config_check
    from checkout_cli.commands.config.view import show_report
    from checkout_cli.terminal.checks import show_explanations

    if explain is not None:
        show_explanations(config_check.CHECKS.explained(explain), as_json=as_json)
        return 0
    context = current()
    context.note_defaults()
    report = config_check.check(context.directory, flags=context.flags)
    show_report(report, as_json=as_json)
    return report.exit_code
