"""Options that commands share, each with its help (`as_json: options.Json = False`), and the types of their values."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

import typer
from typer._click.types import FloatRange  # Typer's own click, which it does not export
from typer.core import TyperCommand

from checkout_cli.errors import InvalidInput

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Finite(FloatRange):
    """A number in a range; NaN, which passes every comparison, and infinity are refused."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number", param, ctx)
        return number


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
ListCursor = Annotated[str, typer.Option(help="Go on where another list stopped; it says where.")]
ScanLimit = Annotated[
    int, typer.Option(min=1, max=10_000, help="Stop after so many; the last step of the scan may bring some more.")
]
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
    """The output format of a list, with ``--json`` as one; ``InvalidInput`` where both options differ."""
    if as_json and output not in {None, "json"}:
        raise InvalidInput(f"--json and --output {output} contradict each other", hint="leave one of them out")
    return "json" if as_json else output or "table"


def duration(text: str) -> float:
    """Seconds in a duration such as ``15m``; ``InvalidInput`` for anything else, also without a unit."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhd])", text.strip())
    if match is None:
        raise InvalidInput(f"not a duration: {text[:32]!r}", hint="a number and its unit: 90s, 15m, 2h or 1d")
    return float(match[1]) * _SECONDS[match[2]]


class WithTransitions(TyperCommand):
    """A command whose help ends with the payment statuses and their transitions."""

    def format_epilog(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]  # noqa: ARG002
        from checkout_cli.session import transitions  # which completion and other commands' help do without

        with formatter.section("Payment statuses, and which may follow each, whoever writes"):
            formatter.write_dl(transitions())
