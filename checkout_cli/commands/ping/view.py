"""How a ping looks: plain lines as they come, like ping(8); no Rich, because a ping must be quick."""

from __future__ import annotations

from checkout_cli.commands.ping.summary import Connected, PingSummary, RoundTrip
from checkout_cli.terminal.output import report, write_json, write_line
from checkout_cli.terminal.safe import safe


def show_event(event: Connected | RoundTrip) -> None:
    """One line on stdout for the connection, and one for each round trip."""
    if isinstance(event, Connected):
        stages = ", ".join(f"{stage} {milliseconds(spent)} ms" for stage, spent in event.stages.items())
        write_line(f"connected to {safe(event.address)}: {stages}")
    else:
        write_line(f"answer {event.sequence}: {milliseconds(event.seconds)} ms")


def show_summary(summary: PingSummary, *, as_json: bool) -> None:
    """The summary on stdout, and on stderr the stage that failed, with what to do."""
    if as_json:
        write_json(summary)
    elif summary.sent:
        write_line()
        write_line(f"{safe(summary.place)}: {summary.sent} sent, {summary.answered} answered")
        if summary.samples:
            times = summary.percentiles.items()
            write_line(", ".join(f"{name[:-2]} {milliseconds(time or 0.0)} ms" for name, time in times))
    if summary.failure is not None:
        report(summary.failure.error, stage=summary.failure.stage)


def milliseconds(seconds: float) -> str:
    """Seconds as milliseconds, with as many digits as mean something."""
    return f"{seconds * 1000:.3f}" if seconds < 0.1 else f"{seconds * 1000:.1f}"
