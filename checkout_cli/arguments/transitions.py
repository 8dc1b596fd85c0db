"""The table of allowed payment transitions, under the help of the commands that keep to it."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand


class WithTransitions(TyperCommand):
    """A command whose help ends with the table."""

    def format_epilog(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]  # noqa: ARG002
        from checkout_cli.session import transitions  # which completion and other commands' help do without

        with formatter.section("Payment statuses, and which may follow each, whoever writes"):
            formatter.write_dl(transitions())
