"""Typed numbers with a fraction: seconds, percentages."""

from __future__ import annotations

import math
from typing import Any

from typer._click.types import FloatRange  # Typer's own click, which it does not export


class Finite(FloatRange):
    """A number in a range; NaN, which passes every comparison, and infinity are refused."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number", param, ctx)
        return number
