#compdef checkoutctl
# Completions of checkoutctl for zsh; written by: checkoutctl completion show zsh

_checkoutctl_place() {
  commands=() options=() valued=() operand=''
  case $1 in
@places@
  esac
}

_checkoutctl_values() {
  case $1 in
@values@
  esac
}

_checkoutctl_ids() {
  local LC_ALL=C word
  checkoutctl sessions list --output ids --limit 50 --timeout 0.5 --max-seconds 1 2>/dev/null | while IFS= read -r word; do
    [[ $word =~ '^[A-Za-z0-9_-]{8,128}$' && ($word != -* || -n $ended) ]] && print -r -- "$word"
  done
}

_checkoutctl_offer() {
  case $1 in
    '<files>') _files ;;
    '<ids>') compadd -- ${(f)"$(_checkoutctl_ids)"} ;;
    ?*) compadd -- ${=1} ;;
  esac
}

_checkoutctl() {
  local at='' operand ended='' word
  local -a commands options valued
  integer i
  _checkoutctl_place ''
  for ((i = 2; i < CURRENT; i++)); do
    word=$words[i]
    if [[ $word == -- ]]; then
      ended=1
    elif [[ -n $ended ]]; then
      continue
    elif (( ${valued[(Ie)$word]} )); then
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
  if [[ -z $ended && $words[CURRENT] == -* ]]; then
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
