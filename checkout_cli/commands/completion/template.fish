# Completions of checkoutctl for fish; written by: checkoutctl completion show fish

function __checkoutctl_offer
    set -l token (commandline -ct)
    set -l place ''
    set -l option ''
    set -l before ''
    set -g __checkoutctl_ended ''
    set -l words (commandline -opc)
    for word in $words[2..-1]
        if test -n "$option"
            set option ''
        else if test -n "$__checkoutctl_ended"; or test "$word" = --
            set -g __checkoutctl_ended 1
        else if contains -- $word $__checkoutctl_valued
            set option $word
        else
            set -l inner (string trim -- "$place $word")
            contains -- $inner $__checkoutctl_places; and set place $inner
        end
    end
    if test -z "$__checkoutctl_ended"; and string match -q -- '--*=*' $token
        set option (string split -m 1 = -- $token)[1]
        set before "$option="
    end
    if test -n "$option"
        for value in (__checkoutctl_values "$place $option" (string replace -- "$before" '' $token))
            echo "$before$value"
        end
    else if test -z "$__checkoutctl_ended"; and string match -q -- '-*' $token
        __checkoutctl_options $place
    else
        __checkoutctl_words "$place" $token
    end
end

function __checkoutctl_files
    complete -C "'' $argv[1]"
end

function __checkoutctl_ids
    set -l id '^(?!-)[A-Za-z0-9_-]{8,128}$'
    test -n "$__checkoutctl_ended"; and set id '^[A-Za-z0-9_-]{8,128}$'
    checkoutctl sessions list --output ids --limit 50 --timeout 0.5 --max-seconds 1 2>/dev/null | string match -r -- $id
end

@sets@

function __checkoutctl_words
    switch "$argv[1]"
@words@
    end
end

function __checkoutctl_options
    switch "$argv[1]"
@options@
    end
end

function __checkoutctl_values
    switch "$argv[1]"
@values@
    end
end

complete -c checkoutctl -f -a '(__checkoutctl_offer)'
