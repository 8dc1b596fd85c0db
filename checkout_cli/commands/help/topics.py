"""The help topics: the Markdown files in ``checkout_cli/help``, which the README links to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files

from checkout_cli.errors import InvalidInput
from checkout_cli.typed import typed

_COMMENT = re.compile(r"<!--.*?-->\n", re.DOTALL)


@dataclass(frozen=True)
class Topic:
    """One topic; ``title`` is its first heading, ``text`` its Markdown without comments."""

    name: str
    title: str
    text: str

    JSON_KEYS = "topic=name title markdown=text"


def names() -> list[str]:
    """The names of all topics, sorted."""
    entries = files("checkout_cli").joinpath("help").iterdir()
    return sorted(entry.name.removesuffix(".md") for entry in entries if entry.name.endswith(".md"))


def all_topics() -> list[Topic]:
    """Every topic, by name."""
    return list(map(topic, names()))


def topic(name: str) -> Topic:
    """One topic. Raises ``InvalidInput`` for an unknown name, with the nearest one."""
    wanted = name.lower()
    if wanted not in names():
        nearest = get_close_matches(wanted, names(), n=1)
        hint = typed("checkoutctl help {}", nearest[0]) if nearest else "checkoutctl help"
        raise InvalidInput(f"there is no help topic {name!r}", hint=hint)
    text = files("checkout_cli").joinpath("help", f"{wanted}.md").read_text(encoding="utf-8")
    text = _COMMENT.sub("", text)
    return Topic(wanted, text.partition("\n")[0].removeprefix("# "), text)
