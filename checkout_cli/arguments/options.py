"""Options that commands share, each with its help: `as_json: options.Json = False`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from checkout_cli.arguments.numbers import Finite
from checkout_cli.errors import InvalidInput

TIMEOUT = 2.0
"""How long a command waits for one answer, in seconds. The shop's own default is far shorter (CHECKOUT_TIMEOUT)."""

Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON document on stdout.")]
Timeout = Annotated[
    float, typer.Option("--timeout", click_type=Finite(0.01, 60), help="Longest wait for one answer, in seconds.")
]
Watch = Annotated[
    float | None,
    typer.Option(
        "--watch", "-w", click_type=Finite(0.5, 86_400), help="Look again every so many seconds, until Ctrl-C."
    ),
]
MaxSeconds = Annotated[
    float | None, typer.Option(click_type=Finite(0.1), help="Stop after this long; the next run goes on.")
]
Rest = Annotated[
    float | None,
    typer.Option("--max-seconds", click_type=Finite(0.01), help="Stop after this long; --cursor goes on."),
]
Cursor = Annotated[str, typer.Option(help="Go on where another run stopped; it says where.")]
Explain = Annotated[
    str | None,
    typer.Option("--explain", metavar="CHECK", help="Say what a check, a group or all of them look for, and stop."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")]
Reveal = Annotated[bool, typer.Option("--reveal", help="Show personal data unmasked.")]

Shape = Literal["table", "json", "ndjson", "csv", "ids"]
Output = Annotated[Shape | None, typer.Option("--output", "-o", help="Default: table.")]


def shape_of(output: Shape | None, *, as_json: bool) -> Shape:
    """The shape of a list, of which ``--json`` is one.

    Raises:
        InvalidInput: both options were given, and differ.
    """
    if as_json and output not in {None, "json"}:
        raise InvalidInput(f"--json and --output {output} contradict each other", hint="leave one of them out")
    return "json" if as_json else output or "table"
