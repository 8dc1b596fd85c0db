"""The files for bash (3.2 and later, as macOS has it), zsh and fish.

Each is the shell's own code, in ``template.SHELL``, with tables of the command tree in place of the lines ``@table@``.
Fish would rather have a line with a condition for each word, and evaluates all conditions at each TAB: with sixty
places that takes longer than anybody should wait. So one function finds the place, and others say what can stand there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from checkout_cli.commands.completion.words import FILES, IDS, Place

Shell = Literal["bash", "zsh", "fish"]


def script(shell: Shell, tree: Sequence[Place]) -> str:
    """The whole file for a shell."""
    tables = {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](tree)
    text = Path(__file__).with_name(f"template.{shell}").read_text(encoding="utf-8")
    for name, lines in tables.items():
        text = text.replace(f"@{name}@\n", "".join(f"{line}\n" for line in lines))
    return text


def _bash(tree: Sequence[Place]) -> dict[str, Iterable[str]]:
    def places() -> Iterator[str]:
        for place in tree:
            parts = {
                "commands": list(place.commands),
                "options": place.option_names,
                "valued": place.valued,
                "operand": place.special_operands,
            }
            sets = " ".join(f"{name}='{' '.join(words)}'" for name, words in parts.items() if words)
            yield f"    '{place.path}') {sets} ;;"

    def values() -> Iterator[str]:
        for place, names, words in _values(tree):
            yield f"    {' | '.join(_at(place, names))}) echo '{' '.join(words)}' ;;"

    return {"places": places(), "values": values()}


def _zsh(tree: Sequence[Place]) -> dict[str, Iterable[str]]:
    def array(name: str, entries: Iterable[tuple[str, str]]) -> Iterator[str]:
        yield f"      {name}=("
        for word, text in entries:
            quoted = f"{word}:{text}".replace("'", "'\\''")
            yield f"        '{quoted}'"
        yield "      )"

    def places() -> Iterator[str]:
        for place in tree:
            yield f"    '{place.path}')"
            if place.commands:
                yield from array("commands", place.commands.items())
            yield from array("options", place.described_options)
            if place.valued:
                yield f"      valued=({' '.join(place.valued)})"
            yield from (f"      operand='{word}'" for word in place.special_operands)
            yield "      ;;"

    def values() -> Iterator[str]:
        for place, names, words in _values(tree):
            yield f"    {'|'.join(_at(place, names))}) print -r -- '{' '.join(words)}' ;;"

    return {"places": places(), "values": values()}


def _fish(tree: Sequence[Place]) -> dict[str, Iterable[str]]:
    def described(pairs: Iterable[tuple[str, str]]) -> str:
        words = " ".join(f"{_quoted(name)} {_quoted(text)}" for name, text in pairs)
        return f"printf '%s\\t%s\\n' {words}"

    def offered(values: Sequence[str]) -> str:
        if tuple(values) == (FILES,):
            return '__checkoutctl_files "$argv[2]"'
        return "__checkoutctl_ids" if tuple(values) == (IDS,) else f"string split ' ' -- {_quoted(' '.join(values))}"

    def cases(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
        for what, does in pairs:
            yield f"        case {what}"
            yield f"            {does}"

    words = [
        (_quoted(place.path), described(place.commands.items()) if place.commands else offered(place.operand or ()))
        for place in tree
        if place.commands or place.operand
    ]
    options = [(_quoted(place.path), described(place.described_options)) for place in tree]
    values = [(" ".join(map(_quoted, _at(place, names, ""))), offered(words)) for place, names, words in _values(tree)]
    valued = sorted({name for place in tree for name in place.valued})
    places = [_quoted(place.path) for place in tree if place.path]
    sets = [f"set -g __checkoutctl_{name} {' '.join(all_)}" for name, all_ in (("valued", valued), ("places", places))]
    return {"sets": sets, "words": cases(words), "options": cases(options), "values": cases(values)}


def _values(tree: Sequence[Place]) -> Iterator[tuple[Place, Sequence[str], Sequence[str]]]:
    """The options that take one of some words: where, their names, and the words."""
    for place in tree:
        for option in place.options:
            if option.values:
                yield place, option.names, option.values


def _at(place: Place, names: Iterable[str], quote: str = "'") -> list[str]:
    return [f"{quote}{place.path} {name}{quote}" for name in names]


def _quoted(text: str) -> str:
    inner = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{inner}'"
