# Completions of checkoutctl for bash; written by: checkoutctl completion show bash
# shellcheck shell=bash disable=SC2207

_checkoutctl_place() {
    commands='' options='' valued='' operand=''
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
    checkoutctl sessions list --output ids --limit 50 --timeout 0.5 --max-seconds 1 2>/dev/null
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
