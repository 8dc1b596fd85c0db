"""The file for zsh: it shows what each command and option is for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checkout_cli.commands.completion.words import FILES, IDS, Option, Place

_HEAD = """\
#compdef checkoutctl
# Completions of checkoutctl for zsh; written by: checkoutctl completion show zsh

_checkoutctl_place() {
  commands=() options=() valued=() operand=''
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

_checkoutctl_offer() {
  case $1 in
    '<files>') _files ;;
    '<ids>') compadd -- ${(f)"$(checkoutctl sessions list --output ids --limit 50 --timeout 0.5 2>/dev/null)"} ;;
    ?*) compadd -- ${=1} ;;
  esac
}

_checkoutctl() {
  local at='' operand word
  local -a commands options valued
  integer i
  _checkoutctl_place ''
  for ((i = 2; i < CURRENT; i++)); do
    word=$words[i]
    if (( ${valued[(Ie)$word]} )); then
      if (( i + 1 == CURRENT )); then
        _checkoutctl_offer "$(_checkoutctl_values "$at $word")"
        return
      fi
      (( i++ ))
    elif (( ${commands[(I)${(b)word}:*]} )); then
      at="${at:+$at }$word"
      _checkoutctl_place "$at"
    fi
  done
  if [[ $words[CURRENT] == -* ]]; then
    _describe -o option options
  elif (( $#commands )); then
    _describe command commands
  else
    _checkoutctl_offer "$operand"
  fi
}

if [[ $funcstack[1] == _checkoutctl ]]; then
  _checkoutctl "$@"
else
  compdef _checkoutctl checkoutctl
fi
"""


def script(tree: Sequence[Place]) -> str:
    """The whole file."""
    return _HEAD + "".join(_places(tree)) + _VALUES + "".join(_values(tree)) + _TAIL


def _places(tree: Sequence[Place]) -> Iterator[str]:
    for place in tree:
        yield f"    '{place.path}')\n"
        if place.commands:
            yield _array("commands", [_described(name, text) for name, text in place.commands.items()])
        yield _array("options", [_described(name, option.help) for option in place.options for name in option.names])
        valued = [name for option in place.options if option.takes_value for name in option.names]
        if valued:
            yield f"      valued=({' '.join(valued)})\n"
        for word in place.operand or ():
            if word in {FILES, IDS}:
                yield f"      operand='{word}'\n"
        yield "      ;;\n"


def _array(name: str, entries: Sequence[str]) -> str:
    return f"      {name}=(\n" + "".join(f"        {entry}\n" for entry in entries) + "      )\n"


def _described(name: str, text: str) -> str:
    quoted = f"{name}:{text}".replace("'", "'\\''")
    return f"'{quoted}'"


def _values(tree: Sequence[Place]) -> Iterator[str]:
    for place in tree:
        for option in place.options:
            if option.values:
                yield f"    {_names(place, option)}) print -r -- '{' '.join(option.values)}' ;;\n"


def _names(place: Place, option: Option) -> str:
    return "|".join(f"'{place.path} {name}'" for name in option.names)
