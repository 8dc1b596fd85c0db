"""The file for fish: one function that finds the place in the line, and one that says what can stand there.

Fish would rather have a line with a condition for each word, and evaluates all conditions at each TAB: with sixty
places that takes longer than anybody should wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from checkout_cli.commands.completion.words import FILES, IDS, Place

_HEAD = """\
# Completions of checkoutctl for fish; written by: checkoutctl completion show fish

function __checkoutctl_offer
    set -l token (commandline -ct)
    set -l place ''
    set -l option ''
    set -l before ''
    set -l words (commandline -opc)
    for word in $words[2..-1]
        if test -n "$option"
            set option ''
        else if contains -- $word $__checkoutctl_valued
            set option $word
        else
            set -l inner (string trim -- "$place $word")
            contains -- $inner $__checkoutctl_places; and set place $inner
        end
    end
    if string match -q -- '--*=*' $token
        set option (string split -m 1 = -- $token)[1]
        set before "$option="
    end
    if test -n "$option"
        for value in (__checkoutctl_values "$place $option" (string replace -- "$before" '' $token))
            echo "$before$value"
        end
    else if string match -q -- '-*' $token
        __checkoutctl_options $place
    else
        __checkoutctl_words "$place" $token
    end
end

function __checkoutctl_files
    complete -C "'' $argv[1]"
end

function __checkoutctl_ids
    checkoutctl sessions list --output ids --limit 50 --timeout 0.5 2>/dev/null
end

"""
_TAIL = "complete -c checkoutctl -f -a '(__checkoutctl_offer)'\n"


def script(tree: Sequence[Place]) -> str:
    """The whole file."""
    valued = sorted({name for place in tree for each in place.options if each.takes_value for name in each.names})
    places = " ".join(_quoted(place.path) for place in tree if place.path)
    tables = f"set -g __checkoutctl_valued {' '.join(valued)}\nset -g __checkoutctl_places {places}\n\n"
    functions = {"words": _words(tree), "options": _options(tree), "values": _values(tree)}
    return _HEAD + tables + "".join(_switch(name, cases) for name, cases in functions.items()) + _TAIL


def _switch(name: str, cases: Iterator[tuple[str, str]]) -> str:
    lines = "".join(f"        case {what}\n            {does}\n" for what, does in cases)
    return f'function __checkoutctl_{name}\n    switch "$argv[1]"\n{lines}    end\nend\n\n'


def _words(tree: Sequence[Place]) -> Iterator[tuple[str, str]]:
    """What can stand at a place that is no option."""
    for place in tree:
        if place.commands:
            yield _quoted(place.path), _told(place.commands.items())
        elif place.operand:
            yield _quoted(place.path), _offered(place.operand)


def _options(tree: Sequence[Place]) -> Iterator[tuple[str, str]]:
    for place in tree:
        yield _quoted(place.path), _told((name, each.help) for each in place.options for name in each.names)


def _values(tree: Sequence[Place]) -> Iterator[tuple[str, str]]:
    """What an option can be, where there are words for it."""
    for place in tree:
        for option in place.options:
            if option.values:
                yield " ".join(_quoted(f"{place.path} {name}") for name in option.names), _offered(option.values)


def _offered(values: Sequence[str]) -> str:
    if tuple(values) == (FILES,):
        return '__checkoutctl_files "$argv[2]"'
    return "__checkoutctl_ids" if tuple(values) == (IDS,) else f"string split ' ' -- {_quoted(' '.join(values))}"


def _told(pairs: Iterable[tuple[str, str]]) -> str:
    told = " ".join(f"{_quoted(name)} {_quoted(text)}" for name, text in pairs)
    return f"printf '%s\\t%s\\n' {told}"


def _quoted(text: str) -> str:
    inner = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{inner}'"
