"""How a ping looks: plain lines as they come, like ping(8); no Rich, because a ping must be quick."""

from __future__ import annotations

from typing import Any

from checkout_cli.commands.ping.ping import Connected, PingSummary, RoundTrip
from checkout_cli.terminal.output import report, write_json, write_line
from checkout_cli.terminal.safe import safe

_TITLES = (("min", 0), ("median", 50), ("p99", 99), ("max", 100))


def show_event(event: Connected | RoundTrip) -> None:
    """One line on stdout for the connection, and one for each round trip."""
    match event:
        case Connected():
            stages = ", ".join(f"{stage} {milliseconds(spent)} ms" for stage, spent in event.stages)
            write_line(f"connected to {safe(event.address)}: {stages}")
        case RoundTrip():
            write_line(f"answer {event.sequence}: {milliseconds(event.seconds)} ms")


def show_summary(summary: PingSummary, *, as_json: bool) -> None:
    """The summary on stdout, and on stderr the stage that failed, with what to do."""
    if as_json:
        write_json(document(summary))
    elif summary.sent:
        write_line()
        write_line(f"{safe(summary.place)}: {summary.sent} sent, {summary.answered} answered")
        if summary.samples:
            write_line(", ".join(f"{title} {_percentile(summary, percent)} ms" for title, percent in _TITLES))
    if summary.failure is not None:
        report(summary.failure.error, stage=summary.failure.stage)


def document(summary: PingSummary) -> dict[str, Any]:
    """The summary as JSON; times are in milliseconds."""
    connected, failure = summary.connected, summary.failure
    return {
        "host": None if summary.socket else summary.host,
        "port": None if summary.socket else summary.port,
        "socket": summary.socket or None,
        "address": connected.address if connected else None,
        "stagesMs": {stage: round(spent * 1000, 3) for stage, spent in connected.stages} if connected else None,
        "sent": summary.sent,
        "answered": summary.answered,
        **{f"{title}Ms": _number(summary.percentile(percent)) for title, percent in _TITLES},
        "samplesMs": [_number(sample) for sample in summary.samples],
        "failure": None
        if failure is None
        else {"stage": failure.stage, "error": str(failure.error), "hint": failure.error.hint},
    }


def milliseconds(seconds: float) -> str:
    """Seconds as milliseconds, with as many digits as mean something."""
    return f"{seconds * 1000:.3f}" if seconds < 0.1 else f"{seconds * 1000:.1f}"


def _percentile(summary: PingSummary, percent: float) -> str:
    return milliseconds(summary.percentile(percent) or 0.0)


def _number(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
