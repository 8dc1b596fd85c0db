"""The file for fish: a line for each command, option and operand, each with its place as a condition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checkout_cli.cli.completions.words import FILES, IDS, Option, Place

_HEAD = """\
# Completions of checkoutctl for fish; written by: checkoutctl completion show fish

function __checkoutctl_ids
    checkoutctl sessions list --output ids --limit 50 --timeout 0.5 2>/dev/null
end

function __checkoutctl_at
    set -l place ''
    set -l skip 0
    set -l words (commandline -opc)
    for word in $words[2..-1]
        if test $skip = 1
            set skip 0
        else if contains -- $word $__checkoutctl_valued
            set skip 1
        else if contains -- (string trim -- "$place $word") $__checkoutctl_places
            set place (string trim -- "$place $word")
        end
    end
    test "$place" = "$argv[1]"
end

"""


def script(tree: Sequence[Place]) -> str:
    """The whole file."""
    valued = sorted({name for place in tree for each in place.options if each.takes_value for name in each.names})
    places = " ".join(f"'{place.path}'" for place in tree if place.path)
    tables = f"set -g __checkoutctl_valued {' '.join(valued)}\nset -g __checkoutctl_places {places}\n"
    return _HEAD + tables + "complete -c checkoutctl -f\n" + "".join(_lines(tree))


def _lines(tree: Sequence[Place]) -> Iterator[str]:
    for place in tree:
        at = f"complete -c checkoutctl -n \"__checkoutctl_at '{place.path}'\""
        for name, text in place.commands.items():
            yield f"{at} -a {name} -d {_quoted(text)}\n"
        for option in place.options:
            yield f"{at} {_names(option)}{_takes(option)} -d {_quoted(option.help)}\n"
        for word in place.operand or ():
            if word == FILES:
                yield f"{at} -F\n"
            elif word == IDS:
                yield f"{at} -a '(__checkoutctl_ids)'\n"


def _names(option: Option) -> str:
    return " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)


def _takes(option: Option) -> str:
    if not option.takes_value:
        return ""
    if option.values is None:
        return " -x"
    return " -r -F" if option.values == (FILES,) else f" -x -a '{' '.join(option.values)}'"


def _quoted(text: str) -> str:
    inner = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{inner}'"
