"""Numbers that are typed with a fraction: spans in seconds, percentages."""

from __future__ import annotations

import math
from typing import Any

from typer._click.types import FloatRange  # Typer's own click, which it does not export


class Finite(FloatRange):
    """A number in a range; NaN, which passes every comparison with a limit, and infinity are none."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """The number; a usage error where it is none, or out of the range."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number", param, ctx)
        return number
