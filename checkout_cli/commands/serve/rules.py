"""Alert rules for Prometheus on the metrics that are served."""

from __future__ import annotations

from importlib.resources import files


def alert_rules() -> str:
    """As YAML."""
    return files(__package__ or "").joinpath("rules.yml").read_text(encoding="utf-8")
