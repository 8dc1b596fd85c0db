"""A benchmark as bars side by side, the outage over time, and the documentation's claims."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from checkout_cli.commands.memory.groups_view import spark
from checkout_cli.commands.memory.view import bar
from checkout_cli.terminal.output import columns_of, warn, write_json, write_line, write_table
from checkout_cli.terminal.safe import safe

if TYPE_CHECKING:
    from checkout_cli.commands.bench.alone import Compared
    from checkout_cli.commands.bench.claims import Claim
    from checkout_cli.commands.bench.run import Availability, BenchReport
    from checkout_cli.commands.bench.stage import Target

_SIDES = ("database only", "with Redis")
_VERDICTS = {True: "holds here", False: "does not hold here", None: "not measured"}


def describe(target: Target) -> list[str]:
    """The servers that would be loaded."""
    return [
        f"Redis:    {target.redis or 'cannot be reached: ' + target.no_redis}",
        f"database: {target.database}",
        f"{target.sessions:,} live checkouts are there",
    ]


def question(seconds: float, shoppers: int) -> str:
    return (
        f"For {seconds:g} s, create and remove checkouts there as {shoppers:,} busy shoppers, "
        f"over up to {shoppers:,} connections to each?"
    )


def show_report(report: BenchReport, *, as_json: bool) -> None:
    """All measurements, and warnings where something is wrong."""
    if as_json:
        write_json(report)
    else:
        for line in _lines(report):
            write_line(line)
        _write_claims(report.claims)
    if report.target.redis is None:
        warn(f"only the database was measured: {report.target.no_redis}")
    if report.outage is not None and report.outage.lost:
        lost = report.outage.lost
        warn(f"{len(lost):,} acknowledged sessions are not as they were acknowledged: {safe(', '.join(lost[:3]))}")
    if report.not_removed is not None:
        warn(f"not all sessions of the benchmark could be removed: {report.not_removed}; the next run does it")


def _lines(report: BenchReport) -> Iterator[str]:
    target = report.target
    yield f"Redis {safe(target.redis or 'away')}, database {safe(target.database)}"
    yield f"{report.shoppers:,} shoppers in {report.processes} processes; {report.seconds:g} s of measuring"
    for title, compared in (("reading a session", report.retrieval), ("changing a session", report.updates)):
        if compared is not None:
            yield from _compared(title, compared)
    yield from _traffic(report)
    if report.outage is not None:
        yield from _outage(report.outage)
    elif report.no_outage:
        yield f"\navailability: not measured: {report.no_outage}"
    yield f"\n{report.removed:,} sessions of the benchmark were removed"
    if target.leftovers and target.redis is not None:
        yield f"{target.leftovers:,} that an earlier one had left were removed too"
    yield ""


def _compared(title: str, compared: Compared) -> Iterator[str]:
    paces = [pace for pace in (compared.database, compared.redis) if pace is not None]
    ratio = "" if compared.ratio is None else f", {_times(compared.ratio)} as fast with Redis"
    yield f"\n{title}, one after the other{ratio}:"
    figures = [f"p50 {_ms(pace.p50)} ms, p99 {_ms(pace.p99)} ms, {pace.calls:,} calls" for pace in paces]
    yield from _bars([pace.p50 for pace in paces], figures)


def _bars(values: Sequence[float], figures: Sequence[str]) -> Iterator[str]:
    most = max(values) or 1
    for side, value, text in zip(_SIDES, values, figures, strict=False):
        yield f"  {side:<14}{bar(value / most)} {text}"


def _traffic(report: BenchReport) -> Iterator[str]:
    sides = [traffic for traffic in (report.without, report.with_redis) if traffic is not None]
    if not sides:
        return
    yield "\nmany shoppers at once, steps a second:"
    figures = [
        f"{traffic.per_second:,.0f}/s, p50 {_ms(traffic.pace.p50)} ms, p99 {_ms(traffic.pace.p99)} ms"
        + (f", {traffic.failed:,} failed" if traffic.failed else "")
        for traffic in sides
    ]
    yield from _bars([traffic.per_second for traffic in sides], figures)
    yield "the database's queries for each step:"
    queries = [traffic.queries_per_step for traffic in sides]
    yield from _bars(queries, [f"{number:.2f}" for number in queries])


def _outage(outage: Availability) -> Iterator[str]:
    yield f"\nRedis {outage.how}, from {outage.away_from:.1f} s to {outage.away_to:.1f} s of {outage.seconds:.1f} s:"
    for place, side in enumerate(("by Redis", "by the database", "failed")):
        numbers = [part[place] for part in outage.parts]
        yield f"  {side:<16}{spark(numbers)} {sum(numbers):,}"
    reasons = ", ".join(f"{number:,} {name}" for name, number in sorted(outage.reasons.items()))
    failures = f" (failed: {reasons})" if reasons else ""
    yield f"  {outage.served:.3%} of {outage.steps:,} steps were served{failures}"
    yield f"  {len(outage.lost):,} of {outage.checked:,} acknowledged sessions were lost"


def _write_claims(claims: list[Claim]) -> None:
    columns = columns_of("the documentation says", "#measured", "verdict")
    write_table(columns, [[claim.text, _measured(claim), _VERDICTS[claim.holds]] for claim in claims])
    for claim in claims:
        if claim.why and claim.measured is not None:
            write_line(f"{claim.id}: {claim.why}")


def _measured(claim: Claim) -> str:
    if claim.measured is None:
        return "-"
    if claim.id in {"retrieval", "users"}:
        return _times(claim.measured)
    return f"{claim.measured:.3%}" if claim.id == "uptime" else f"{claim.measured:.0%}"


def _times(ratio: float) -> str:
    return f"{ratio:.1f}x" if ratio < 10 else f"{ratio:,.0f}x"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f}" if seconds < 0.01 else f"{seconds * 1000:.1f}"
