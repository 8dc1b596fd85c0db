"""The file for bash (3.2 and later, as macOS has it)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checkout_cli.commands.completion.words import FILES, IDS, Place

_HEAD = """\
# Completions of checkoutctl for bash; written by: checkoutctl completion show bash
# shellcheck shell=bash disable=SC2207

_checkoutctl_place() {
    commands='' options='' valued='' operand=''
    case $1 in
"""
_VALUES = """\
    esac
}

_checkoutctl_values() {
    case $1 in
"""
_TAIL = """\
    esac
}

_checkoutctl_ids() {
    checkoutctl sessions list --output ids --limit 50 --timeout 0.5 2>/dev/null
}

_checkoutctl_offer() {
    case $1 in
    '<files>') COMPREPLY=($(compgen -f -- "$2")) ;;
    '<ids>') COMPREPLY=($(compgen -W "$(_checkoutctl_ids)" -- "$2")) ;;
    *) COMPREPLY=($(compgen -W "$1" -- "$2")) ;;
    esac
}

_checkoutctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} path='' commands options valued operand word i
    COMPREPLY=()
    _checkoutctl_place ''
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ " $valued " == *" $word "* ]]; then
            if ((i + 1 == COMP_CWORD)); then
                _checkoutctl_offer "$(_checkoutctl_values "$path $word")" "$cur"
                return
            fi
            ((i++))
        elif [[ " $commands " == *" $word "* ]]; then
            path="${path:+$path }$word"
            _checkoutctl_place "$path"
        fi
    done
    if [[ $cur == -* ]]; then
        _checkoutctl_offer "$options" "$cur"
    else
        _checkoutctl_offer "${commands:-$operand}" "$cur"
    fi
}

complete -F _checkoutctl checkoutctl
"""


def script(tree: Sequence[Place]) -> str:
    """The whole file."""
    return _HEAD + "".join(_places(tree)) + _VALUES + "".join(_values(tree)) + _TAIL


def _places(tree: Sequence[Place]) -> Iterator[str]:
    for place in tree:
        options = [name for option in place.options for name in option.names]
        valued = [name for option in place.options if option.takes_value for name in option.names]
        parts = [("commands", list(place.commands)), ("options", options), ("valued", valued)]
        parts.append(("operand", [word for word in place.operand or () if word in {FILES, IDS}]))
        set_ = " ".join(f"{name}='{' '.join(words)}'" for name, words in parts if words)
        yield f"    '{place.path}') {set_} ;;\n"


def _values(tree: Sequence[Place]) -> Iterator[str]:
    for place in tree:
        for option in place.options:
            if option.values:
                names = " | ".join(f"'{place.path} {name}'" for name in option.names)
                yield f"    {names}) echo '{' '.join(option.values)}' ;;\n"
