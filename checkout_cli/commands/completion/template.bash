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

# Ids and names of files are data, which compgen -W and an unquoted $(...) would expand: a loop compares them.
_checkoutctl_offer() {
    local LC_ALL=C id='^[A-Za-z0-9_-]{8,128}$' name='^[A-Za-z0-9_.,/~+:@%-]+$' word
    case $1 in
    '<files>')
        compopt -o filenames 2>/dev/null && name='' # readline quotes them, which bash 3.2 cannot be told
        while IFS= read -r word; do
            [[ $word =~ $name && ($word != -* || -n $ended) ]] && COMPREPLY+=("$word")
        done < <(compgen -f -- "$2")
        ;;
    '<ids>')
        while IFS= read -r word; do
            [[ $word =~ $id && $word == "$2"* && ($word != -* || -n $ended) ]] && COMPREPLY+=("$word")
        done < <(_checkoutctl_ids)
        ;;
    *) COMPREPLY=($(compgen -W "$1" -- "$2")) ;;
    esac
}

_checkoutctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} path='' commands options valued operand ended='' word i
    COMPREPLY=()
    _checkoutctl_place ''
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == -- ]]; then
            ended=1
        elif [[ -z $ended && " $valued " == *" $word "* ]]; then
            if ((i + 1 == COMP_CWORD)); then
                _checkoutctl_offer "$(_checkoutctl_values "$path $word")" "$cur"
                return
            fi
            ((i++))
        elif [[ -z $ended && " $commands " == *" $word "* ]]; then
            path="${path:+$path }$word"
            _checkoutctl_place "$path"
        fi
    done
    if [[ -z $ended && $cur == -* ]]; then
        _checkoutctl_offer "$options" "$cur"
    else
        _checkoutctl_offer "${commands:-$operand}" "$cur"
    fi
}

complete -F _checkoutctl checkoutctl
