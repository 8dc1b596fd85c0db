# Completions of checkoutctl for bash; written by: checkoutctl completion show bash
# shellcheck shell=bash disable=SC2207

_checkoutctl_place() {
    commands='' options='' valued='' operand=''
    case $1 in
    '') commands='doctor health ping top incident sync sessions users stats cache memory info slowlog latency monitor bench setup demo config migrate cleanup cron serve acl completion help' options='--redis-host --redis-port --redis-db -C --directory -v --verbose --no-color --version -h --help' valued='--redis-host --redis-port --redis-db -C --directory' ;;
    'doctor') options='--only --skip --explain --fail-on --json --timeout -h --help' valued='--only --skip --explain --fail-on --timeout' ;;
    'health') options='-w --watch --json --nagios --timeout -h --help' valued='-w --watch --timeout' ;;
    'ping') options='-c --count -i --interval --json --timeout -h --help' valued='-c --count -i --interval --timeout' ;;
    'top') options='-i --interval --once --json --timeout -h --help' valued='-i --interval --timeout' ;;
    'incident') commands='diff' options='--out --timeout -h --help' valued='--out --timeout' ;;
    'incident diff') options='--json -h --help' operand='<files>' ;;
    'sync') options='--dry-run --max-seconds --conflicts --limit -o --output --reveal --resolve --keep -y --yes -q --quiet --json --timeout -h --help' valued='--max-seconds --limit -o --output --resolve --keep --timeout' ;;
    'sessions') commands='list show trace why export create update delete restore extend index' options='-h --help' ;;
    'sessions list') options='--limit --status --user --expiring-within --older-than --sort --max-seconds --tier -o --output --json --reveal --timeout -h --help' valued='--limit --status --user --expiring-within --older-than --sort --max-seconds --tier -o --output --timeout' ;;
    'sessions show') options='--reveal --json --timeout -h --help' valued='--timeout' operand='<ids>' ;;
    'sessions trace') options='--reveal --json --timeout -h --help' valued='--timeout' operand='<ids>' ;;
    'sessions why') options='--user --json --timeout -h --help' valued='--timeout' operand='<ids>' ;;
    'sessions export') options='-o --output --cursor --limit --max-seconds --reveal --timeout -h --help' valued='-o --output --cursor --limit --max-seconds --timeout' ;;
    'sessions create') options='-f --file --id --json --timeout -h --help' valued='-f --file --id --timeout' ;;
    'sessions update') options='--set --json --timeout -h --help' valued='--set --timeout' operand='<ids>' ;;
    'sessions delete') options='--user --status --older-than --undo-file --max-seconds -y --yes --dry-run --json --timeout -h --help' valued='--user --status --older-than --undo-file --max-seconds --timeout' operand='<ids>' ;;
    'sessions restore') options='--max-seconds --dry-run --json --timeout -h --help' valued='--max-seconds --timeout' operand='<files>' ;;
    'sessions extend') options='--by --json --timeout -h --help' valued='--by --timeout' operand='<ids>' ;;
    'sessions index') commands='check repair adopt' options='-h --help' ;;
    'sessions index check') options='--cursor --max-seconds --json --timeout -h --help' valued='--cursor --max-seconds --timeout' ;;
    'sessions index repair') options='--fix-ttl --max-seconds -y --yes --dry-run --json --timeout -h --help' valued='--max-seconds --timeout' ;;
    'sessions index adopt') options='--force --max-seconds -y --yes --dry-run --json --timeout -h --help' valued='--max-seconds --timeout' ;;
    'users') commands='list show' options='-h --help' ;;
    'users list') options='--limit --cursor -o --output --json --reveal --timeout -h --help' valued='--limit --cursor -o --output --timeout' ;;
    'users show') options='--reveal --json --timeout -h --help' valued='--timeout' ;;
    'stats') options='--since --by -w --watch --json --timeout -h --help' valued='--since --by -w --watch --timeout' ;;
    'cache') commands='stats delivery coupon' options='-h --help' ;;
    'cache stats') options='--since --json --timeout -h --help' valued='--since --timeout' ;;
    'cache delivery') commands='get set list invalidate' options='-h --help' ;;
    'cache delivery get') options='--json --timeout -h --help' valued='--timeout' ;;
    'cache delivery set') options='-y --yes --dry-run --json --timeout -h --help' valued='--timeout' ;;
    'cache delivery list') options='--limit --cursor -o --output --json --reveal --timeout -h --help' valued='--limit --cursor -o --output --timeout' ;;
    'cache delivery invalidate') options='--distance-from --distance-to -y --yes --dry-run --json --timeout -h --help' valued='--distance-from --distance-to --timeout' ;;
    'cache coupon') commands='get set list invalidate' options='-h --help' ;;
    'cache coupon get') options='--reveal --json --timeout -h --help' valued='--timeout' ;;
    'cache coupon set') options='--context -y --yes --dry-run --reveal --json --timeout -h --help' valued='--context --timeout' ;;
    'cache coupon list') options='--limit --cursor -o --output --json --reveal --timeout -h --help' valued='--limit --cursor -o --output --timeout' ;;
    'cache coupon invalidate') options='-y --yes --dry-run --json --timeout -h --help' valued='--timeout' ;;
    'memory') commands='show families tune' options='-h --help' ;;
    'memory show') options='--json --timeout -h --help' valued='--timeout' ;;
    'memory families') options='--sample --cursor --max-load --max-seconds --biggest --reveal -o --output --json --timeout -h --help' valued='--sample --cursor --max-load --max-seconds --biggest -o --output --timeout' ;;
    'memory tune') options='--maxmemory --policy --samples --advise --persist --undo --force --dry-run -y --yes --json --timeout -h --help' valued='--maxmemory --policy --samples --timeout' ;;
    'info') options='--diff --json --timeout -h --help' valued='--diff --timeout' ;;
    'slowlog') options='-n --limit --reset -y --yes --dry-run -o --output --json --timeout -h --help' valued='-n --limit -o --output --timeout' ;;
    'latency') options='-n --samples --json --timeout -h --help' valued='-n --samples --timeout' ;;
    'monitor') options='--seconds --count --family --command --json --timeout -h --help' valued='--seconds --count --family --command --timeout' ;;
    'bench') options='--seconds --shoppers --embedded -y --yes --json --timeout -h --help' valued='--seconds --shoppers --timeout' ;;
    'setup') options='--check --redis-url --explain -y --yes --timeout --json -h --help' valued='--redis-url --explain --timeout' ;;
    'demo') options='--fast --keep --json -h --help' ;;
    'config') commands='show check set unset' options='-h --help' ;;
    'config show') options='--json -h --help' ;;
    'config check') options='--explain --json -h --help' valued='--explain' ;;
    'config set') options='--json -h --help' ;;
    'config unset') options='--json -h --help' ;;
    'migrate') commands='plan run verify status' options='-h --help' ;;
    'migrate plan') options='--rate --cursor --max-seconds --json --timeout -h --help' valued='--rate --cursor --max-seconds --timeout' ;;
    'migrate run') options='--rate --restart --max-seconds --to --to-mode -q --quiet --json --timeout -h --help' valued='--rate --max-seconds --to --to-mode --timeout' ;;
    'migrate verify') options='--sample --cursor --max-seconds --to --to-mode -q --quiet --json --timeout -h --help' valued='--sample --cursor --max-seconds --to --to-mode --timeout' ;;
    'migrate status') options='--json -h --help' ;;
    'cleanup') options='--expired --index --orphans --dry-run --max-seconds --batch -y --yes -q --quiet --json --timeout -h --help' valued='--max-seconds --batch --timeout' ;;
    'cron') commands='print install remove status run' options='-h --help' ;;
    'cron print') options='--format --json -h --help' valued='--format' ;;
    'cron install') options='--dry-run -y --yes --force --json -h --help' ;;
    'cron remove') options='--dry-run -y --yes --force --json -h --help' ;;
    'cron status') options='--json -h --help' ;;
    'cron run') options='--jitter --json -h --help' valued='--jitter' ;;
    'serve') options='--host --port --allow-host --print-rules --timeout -h --help' valued='--host --port --allow-host --timeout' ;;
    'acl') commands='reader operator application check' options='--json -h --help' ;;
    'acl reader') options='--user --json -h --help' valued='--user' ;;
    'acl operator') options='--user --json -h --help' valued='--user' ;;
    'acl application') options='--user --json -h --help' valued='--user' ;;
    'acl check') options='--role --json --timeout -h --help' valued='--role --timeout' ;;
    'completion') commands='show install' options='-h --help' ;;
    'completion show') options='-h --help' ;;
    'completion install') options='--shell --dry-run -y --yes --json -h --help' valued='--shell' ;;
    'help') options='--json -h --help' ;;
    esac
}

_checkoutctl_values() {
    case $1 in
    ' -C' | ' --directory') echo '<files>' ;;
    'doctor --only') echo 'connection serving sessions memory database jobs privacy security speed host blocking-commands cache-hit-rate capability card-data certificate cleanup-overdue clients clock clocksource configuration conflicts connect data-directory database database-clock database-encoding database-space database-write drift eviction-policy evictions expired-rows expiry-index expiry-lag exposure external-writers fork fragmentation hit-rate index-dangling index-kind index-missing install job-locks kernel-overcommit key-names latency-events loading managed memory-headroom memory-limit memory-overheads payload pending persistence port-in-use redirects redis-emptied refused-commands replication requirements round-trip secrets server-version session-ttl shared slow-log slow-log-data somaxconn stampede statistics-gap swap topology transparent-huge-pages transport user-fields write' ;;
    'doctor --skip') echo 'connection serving sessions memory database jobs privacy security speed host blocking-commands cache-hit-rate capability card-data certificate cleanup-overdue clients clock clocksource configuration conflicts connect data-directory database database-clock database-encoding database-space database-write drift eviction-policy evictions expired-rows expiry-index expiry-lag exposure external-writers fork fragmentation hit-rate index-dangling index-kind index-missing install job-locks kernel-overcommit key-names latency-events loading managed memory-headroom memory-limit memory-overheads payload pending persistence port-in-use redirects redis-emptied refused-commands replication requirements round-trip secrets server-version session-ttl shared slow-log slow-log-data somaxconn stampede statistics-gap swap topology transparent-huge-pages transport user-fields write' ;;
    'doctor --explain') echo 'blocking-commands cache-hit-rate capability card-data certificate cleanup-overdue clients clock clocksource configuration conflicts connect data-directory database database-clock database-encoding database-space database-write drift eviction-policy evictions expired-rows expiry-index expiry-lag exposure external-writers fork fragmentation hit-rate index-dangling index-kind index-missing install job-locks kernel-overcommit key-names latency-events loading managed memory-headroom memory-limit memory-overheads payload pending persistence port-in-use redirects redis-emptied refused-commands replication requirements round-trip secrets server-version session-ttl shared slow-log slow-log-data somaxconn stampede statistics-gap swap topology transparent-huge-pages transport user-fields write' ;;
    'doctor --fail-on') echo 'warn crit' ;;
    'incident --out') echo '<files>' ;;
    'sync -o' | 'sync --output') echo 'table json ndjson csv ids' ;;
    'sync --keep') echo 'database written' ;;
    'sessions list --status') echo 'pending processing paid failed cancelled unreadable' ;;
    'sessions list --sort') echo 'newest oldest expires total status' ;;
    'sessions list --tier') echo 'redis database memory' ;;
    'sessions list -o' | 'sessions list --output') echo 'table json ndjson csv ids' ;;
    'sessions export -o' | 'sessions export --output') echo 'ndjson csv' ;;
    'sessions delete --status') echo 'pending processing paid failed cancelled unreadable' ;;
    'sessions delete --undo-file') echo '<files>' ;;
    'users list -o' | 'users list --output') echo 'table json ndjson csv ids' ;;
    'stats --by') echo 'minute status' ;;
    'cache delivery list -o' | 'cache delivery list --output') echo 'table json ndjson csv ids' ;;
    'cache coupon list -o' | 'cache coupon list --output') echo 'table json ndjson csv ids' ;;
    'memory families -o' | 'memory families --output') echo 'table json ndjson csv ids' ;;
    'slowlog -o' | 'slowlog --output') echo 'table json ndjson csv ids' ;;
    'monitor --family') echo 'sessions index delivery coupon users stats ours other' ;;
    'config check --explain') echo 'env-files values password-files transport tls-files lifetimes database-url' ;;
    'migrate run --to-mode') echo 'standalone cluster' ;;
    'migrate verify --to-mode') echo 'standalone cluster' ;;
    'cron print --format') echo 'crontab systemd' ;;
    'acl check --role') echo 'reader operator application' ;;
    'completion install --shell') echo 'bash zsh fish' ;;
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
