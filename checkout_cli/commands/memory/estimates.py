"""Estimates of all keys from a sample, with bounds.

The pages of a sample are its units (cluster sampling; W. G. Cochran, Sampling Techniques): keys of a page that are
alike widen the bounds. Sizes are skewed, so the mean of a sample is more often too low than too high, and the upper
bound is moved up (N. J. Johnson, Modified t tests, 1978). For few keys, the bounds of a proportion are those of
E. B. Wilson, which hold down to none. All are on the safe side: computed for 99.5 %, stated for 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from checkout_cli.commands.memory.measure import Method, Page
from checkout_cli.commands.memory.sample import Sample
from checkout_cli.commands.memory.tally import Bound, FamilyMemory, FamilyTally, Tally
from checkout_cli.keys import Family

CERTAINTY = 2.81
"""Standard deviations on each side: 99.5 % of a normal distribution."""


@dataclass(frozen=True)
class _Sum:
    """The estimate of a sum over all keys of a server, with its variance and third central moment."""

    value: float
    variance: float
    third: float

    @classmethod
    def of(cls, parts: Sequence[float], lengths: Sequence[float], total: int) -> _Sum:
        """From the sum and the length of each page, and the number of all keys."""
        units, drawn = len(parts), sum(lengths)
        if units < 2 or not drawn:
            return cls(0.0, 0.0, 0.0)
        ratio = sum(parts) / drawn
        rest = [part - ratio * length for part, length in zip(parts, lengths, strict=True)]
        scale = total / drawn
        variance = units / (units - 1) * sum(value**2 for value in rest)
        return cls(total * ratio, scale**2 * variance, scale**3 * sum(value**3 for value in rest))


def estimated_families(samples: Sequence[Sample]) -> tuple[FamilyMemory, ...]:
    """All families, from a sample of each server."""
    tallies = [[_tally(drawn.page) for drawn in sample.drawn] for sample in samples]
    known = Tally(0)
    for sample in samples:
        known.add(sample.known)
    return tuple(_estimated(family, samples, tallies, known.families[family]) for family in Family)


def _tally(page: Page) -> Tally:
    tally = Tally(0)
    tally.add(page)
    return tally


def _estimated(
    family: Family, samples: Sequence[Sample], tallies: Sequence[Sequence[Tally]], known: FamilyTally
) -> FamilyMemory:
    """One family: known keys counted, the others estimated."""
    drawn = [[tally.families[family] for tally in pages] for pages in tallies]
    keys = _over_servers(samples, drawn, lambda counted: counted.keys)
    sizes = _over_servers(samples, drawn, lambda counted: counted.size)
    seen = sum(counted.keys for pages in drawn for counted in pages)
    length = sum(page.stands_for for sample in samples for page in sample.drawn)
    low, high = _proportion(seen, length, sum(sample.total for sample in samples))
    margin = CERTAINTY * math.sqrt(keys.variance)
    keys_bound = _bound(known.keys, min(low, keys.value - margin), max(high, keys.value + margin))
    below = CERTAINTY * math.sqrt(sizes.variance)
    size_bound = _bound(known.size, sizes.value - below, sizes.value + _upper_margin(sizes))
    if not seen:
        size_bound = Bound(known.size, None if keys_bound.high != known.keys else known.size)
    with_size = all(sample.allowed.method is not Method.NONE for sample in samples)
    without_ttl = _over_servers(samples, drawn, lambda counted: counted.without_ttl).value + known.without_ttl
    ttls = [
        _over_servers(samples, drawn, lambda counted, step=step: counted.ttls[step]).value  # type: ignore[misc]
        for step in range(len(known.ttls))
    ]
    return FamilyMemory(
        family,
        round(keys.value) + known.keys,
        round(sizes.value) + known.size if with_size else None,
        round(without_ttl) if all(sample.allowed.ttl for sample in samples) else None,
        tuple(round(value) + exact for value, exact in zip(ttls, known.ttls, strict=True)),
        round(_over_servers(samples, drawn, lambda counted: counted.unmeasured).value) + known.unmeasured,
        keys_bound,
        size_bound if with_size else None,
    )


def _over_servers(
    samples: Sequence[Sample], drawn: Sequence[Sequence[FamilyTally]], what: Callable[[FamilyTally], float]
) -> _Sum:
    parts = [
        _Sum.of([what(counted) for counted in pages], [drawn.stands_for for drawn in sample.drawn], sample.total)
        for sample, pages in zip(samples, drawn, strict=True)
    ]
    return _Sum(
        sum(part.value for part in parts), sum(part.variance for part in parts), sum(part.third for part in parts)
    )


def _upper_margin(estimate: _Sum) -> float:
    """How far above an estimate the true value can be: wider where few large values make up much of it."""
    if not estimate.variance:
        return 0.0
    deviation = math.sqrt(estimate.variance)
    skewness = max(estimate.third / deviation**3, 0.0)
    return deviation * (CERTAINTY + skewness * (1 + 2 * CERTAINTY**2) / 6)


def _proportion(seen: int, drawn: float, total: int) -> tuple[float, float]:
    """The bounds of how many of all keys are of a kind, when ``seen`` of those drawn are."""
    if not drawn:
        return 0.0, float(total)
    part, square = seen / drawn, CERTAINTY**2
    middle = part + square / (2 * drawn)
    half = CERTAINTY * math.sqrt(part * (1 - part) / drawn + square / (4 * drawn**2))
    return total * (middle - half) / (1 + square / drawn), total * (middle + half) / (1 + square / drawn)


def _bound(known: int, low: float, high: float) -> Bound:
    return Bound(known + max(math.floor(low), 0), known + math.ceil(high))
