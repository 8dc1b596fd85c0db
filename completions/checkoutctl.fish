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

set -g __checkoutctl_valued --allow-host --batch --biggest --by --command --context --count --cursor --diff --directory --distance-from --distance-to --expiring-within --explain --fail-on --family --file --format --host --id --interval --jitter --keep --limit --max-load --max-seconds --maxmemory --older-than --only --out --output --policy --port --rate --redis-db --redis-host --redis-port --redis-url --resolve --role --sample --samples --seconds --set --shell --shoppers --since --skip --sort --status --tier --timeout --to --to-mode --undo-file --user --watch -C -c -f -i -n -o -w
set -g __checkoutctl_places 'doctor' 'health' 'ping' 'top' 'incident' 'incident diff' 'sync' 'sessions' 'sessions list' 'sessions show' 'sessions trace' 'sessions why' 'sessions export' 'sessions create' 'sessions update' 'sessions delete' 'sessions restore' 'sessions extend' 'sessions index' 'sessions index check' 'sessions index repair' 'sessions index adopt' 'users' 'users list' 'users show' 'stats' 'cache' 'cache stats' 'cache delivery' 'cache delivery get' 'cache delivery set' 'cache delivery list' 'cache delivery invalidate' 'cache coupon' 'cache coupon get' 'cache coupon set' 'cache coupon list' 'cache coupon invalidate' 'memory' 'memory show' 'memory families' 'memory tune' 'info' 'slowlog' 'latency' 'monitor' 'bench' 'setup' 'demo' 'config' 'config show' 'config check' 'config set' 'config unset' 'migrate' 'migrate plan' 'migrate run' 'migrate verify' 'migrate status' 'cleanup' 'cron' 'cron print' 'cron install' 'cron remove' 'cron status' 'cron run' 'serve' 'acl' 'acl reader' 'acl operator' 'acl application' 'acl check' 'completion' 'completion show' 'completion install' 'help'

function __checkoutctl_words
    switch "$argv[1]"
        case ''
            printf '%s\t%s\n' 'doctor' 'Examine all that checkouts depend on; say what to fix first' 'health' 'Say whether sessions are served: healthy, degraded, unhealthy' 'ping' 'Time round trips to Redis; without an answer, say what fails' 'top' 'Watch all that moves on one screen, live' 'incident' 'Write all findings into one redacted file; compare two' 'sync' 'Hand over what Redis and the database lack of each other' 'sessions' 'List, look at, create, change, delete and export sessions' 'users' 'See how users\' checkouts went of late' 'stats' 'Show how checkouts went in the last minutes' 'cache' 'Look at, correct and invalidate what is cached' 'memory' 'See what takes Redis\' memory, and limit it safely' 'info' 'Show what Redis says of itself, and what that means' 'slowlog' 'Show which commands took Redis long' 'latency' 'Measure round trips, and what makes Redis pause' 'monitor' 'Watch the commands that Redis gets at this moment' 'bench' 'Measure what Redis brings on your own servers' 'setup' 'Set everything up, and prove that it works' 'demo' 'See it all work on a real server, without a Redis of your own' 'config' 'Show and change the settings, and say what is wrong with them' 'migrate' 'Bring sessions to Redis, or to another one, without downtime' 'cleanup' 'Remove what has expired from the index and the database' 'cron' 'Run clean-up, hand-over and health every five minutes' 'serve' 'Answer health checks, management requests and Prometheus' 'acl' 'Show the least rules for users of Redis; check your own' 'completion' 'Complete commands, options and ids in bash, zsh and fish' 'help' 'Read about a topic: durability, migration, production …'
        case 'incident'
            printf '%s\t%s\n' 'diff' 'Show what changed between two incident files, what matters first'
        case 'incident diff'
            __checkoutctl_files "$argv[2]"
        case 'sessions'
            printf '%s\t%s\n' 'list' 'List sessions, newest first: those that expire last' 'show' 'Show a whole session: fields, items, time to live, tier and version' 'trace' 'Show a session in every tier side by side, and where they differ, field by field' 'why' 'Say in words what became of a session, and by what evidence: alive, expired, deleted, evicted, and so on' 'export' 'Write all living sessions to stdout, those that can end first come first; nothing is extended' 'create' 'Create a session from a JSON object, and print its id' 'update' 'Set fields of a session, all of them in one version; every other field stays as it is' 'delete' 'Delete sessions for good, from every tier; their ids stay dead' 'restore' 'Take a deletion back: each session to which nothing has happened since, with the end that it had' 'extend' 'Let a session live longer than it would, at most up to its maximum age' 'index' 'Compare the index with the sessions, repair it, adopt it'
        case 'sessions show'
            __checkoutctl_ids
        case 'sessions trace'
            __checkoutctl_ids
        case 'sessions why'
            __checkoutctl_ids
        case 'sessions update'
            __checkoutctl_ids
        case 'sessions delete'
            __checkoutctl_ids
        case 'sessions restore'
            __checkoutctl_files "$argv[2]"
        case 'sessions extend'
            __checkoutctl_ids
        case 'sessions index'
            printf '%s\t%s\n' 'check' 'Compare the index with the keys, both ways; changes nothing' 'repair' 'Enter what is missing, take out what has no session; no session is changed' 'adopt' 'Replace an older program\'s SET at checkout:index by our own index, once that program is retired'
        case 'users'
            printf '%s\t%s\n' 'list' 'List users who have checked out of late, in no order: their checkouts, the last status, when they were seen' 'show' 'Show what is tracked of a user: checkouts started, completed and failed, the last status, when seen'
        case 'cache'
            printf '%s\t%s\n' 'stats' 'Show how often each cache was hit, missed, stale or unreachable of late' 'delivery' 'Delivery charges, by distance and order value' 'coupon' 'Answers about coupons, by code'
        case 'cache delivery'
            printf '%s\t%s\n' 'get' 'Show a cached delivery charge: its age, its time to live, and whether it would be served now' 'set' 'Put a delivery charge into the cache, which shoppers then see until it expires or is invalidated' 'list' 'List cached delivery charges, in no order, and say which would not be served' 'invalidate' 'Invalidate delivery charges for every program at once: all of them, or those of a range of distances'
        case 'cache coupon'
            printf '%s\t%s\n' 'get' 'Show the cached answers about a coupon: one for each context that it was asked in, the newest first' 'set' 'Put an answer about a coupon into the cache, which shoppers then see until it expires or is invalidated' 'list' 'List coupons with cached answers, in no order, and say which would not be served' 'invalidate' 'Invalidate the answers about a coupon for every program at once, or those about all coupons'
        case 'memory'
            printf '%s\t%s\n' 'show' 'Show how full Redis is, how fast it fills, and which checkouts its policy would evict first' 'families' 'Show which families of keys take how much memory, for how long they live, and the biggest keys' 'tune' 'Show Redis\' memory limit and eviction policy and what they mean, and change them once you agree'
        case 'config'
            printf '%s\t%s\n' 'show' 'Show every setting, its value and where it comes from; secrets are masked' 'check' 'Name everything that is wrong with the settings, each with its fix' 'set' 'Write settings into .env.local, each in the place of its old line' 'unset' 'Take settings out of .env.local and .env'
        case 'migrate'
            printf '%s\t%s\n' 'plan' 'Count what a migration would move, and say whether Redis has room for it' 'run' 'Publish every living session of the database that Redis lacks; or copy Redis to another one (--to)' 'verify' 'Compare every living session of the database with Redis: version, content, time to live' 'status' 'Say how far the last migration of this user came, according to its checkpoint; asks no server'
        case 'cron'
            printf '%s\t%s\n' 'print' 'Write the lines for a crontab, or systemd\'s units, to stdout' 'install' 'Put the lines into your crontab, or bring them up to date; everything else in it stays as it is' 'remove' 'Take the lines out of your crontab; everything else in it stays as it is' 'status' 'Say whether the lines are installed, and when each job ran last; asks no server' 'run' 'Run one job as cron does: silent unless something is wrong, and noted for status'
        case 'acl'
            printf '%s\t%s\n' 'reader' 'Show the least ACL rule for who only looks' 'operator' 'Show the least ACL rule for the engineer on call, and for cron' 'application' 'Show the least ACL rule for the shop itself, which uses the library' 'check' 'Say which commands of checkoutctl work for the user in use, and which grants are missing'
        case 'completion'
            printf '%s\t%s\n' 'show' 'Write a shell\'s file to stdout' 'install' 'Put a shell\'s file where that shell looks for it, below your home directory'
        case 'completion show'
            string split ' ' -- 'bash zsh fish'
        case 'help'
            string split ' ' -- 'caches cron durability exit-codes external-writers http library memory migration privacy production settings statistics troubleshooting'
    end
end

function __checkoutctl_options
    switch "$argv[1]"
        case ''
            printf '%s\t%s\n' '--redis-host' 'Redis host (REDIS_HOST)' '--redis-port' 'Redis port (REDIS_PORT)' '--redis-db' 'Redis database number (REDIS_DB)' '-C' 'Where .env.local and .env are' '--directory' 'Where .env.local and .env are' '-v' 'Log every Redis operation to stderr' '--verbose' 'Log every Redis operation to stderr' '--no-color' 'No colour' '--version' 'Show the version and exit' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'doctor'
            printf '%s\t%s\n' '--only' 'Only these checks or groups of checks' '--skip' 'All but these checks or groups' '--explain' 'Say what a check, a group or all of them look for, and stop' '--fail-on' 'From which status on to exit with 1' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'health'
            printf '%s\t%s\n' '-w' 'Look again every so many seconds, until Ctrl-C' '--watch' 'Look again every so many seconds, until Ctrl-C' '--json' 'Answer with one JSON document on stdout' '--nagios' 'Answer as a monitoring plugin does, with its exit codes' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'ping'
            printf '%s\t%s\n' '-c' 'How often; 0: until Ctrl-C' '--count' 'How often; 0: until Ctrl-C' '-i' 'Seconds from one to the next' '--interval' 'Seconds from one to the next' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'top'
            printf '%s\t%s\n' '-i' 'Seconds from one look to the next' '--interval' 'Seconds from one look to the next' '--once' 'Print one frame; the exit code is that of health' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'incident'
            printf '%s\t%s\n' '--out' 'Where to; - for stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'incident diff'
            printf '%s\t%s\n' '--json' 'Answer with one JSON document on stdout' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'sync'
            printf '%s\t%s\n' '--dry-run' 'Show what would be done, and change nothing' '--max-seconds' 'Stop after this long; the next run goes on' '--conflicts' 'Show conflicts, both sides of each' '--limit' 'At most so many conflicts' '-o' 'Default: table' '--output' 'Default: table' '--reveal' 'Show personal data unmasked' '--resolve' 'Settle this conflict; the beginning is enough' '--keep' 'Which side of the conflict to keep' '-y' 'Do not ask' '--yes' 'Do not ask' '-q' 'Say nothing when all went well' '--quiet' 'Say nothing when all went well' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'sessions'
            printf '%s\t%s\n' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'sessions list'
            printf '%s\t%s\n' '--limit' 'At most so many' '--status' 'Only this payment status; unreadable: what is no session' '--user' 'Only of this user; the whole id' '--expiring-within' 'Only what ends within, such as 5m' '--older-than' 'Only what was created longer ago, such as 2h' '--sort' 'Any other order than newest looks at every session, but at most at 100,000' '--max-seconds' 'Look for so long, instead of 5 s and at 100,000 entries at most' '--tier' 'Look only there' '-o' 'Default: table' '--output' 'Default: table' '--json' 'Answer with one JSON document on stdout' '--reveal' 'Show personal data unmasked' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'sessions show'
            printf '%s\t%s\n' '--reveal' 'Show personal data unmasked' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'sessions trace'
            printf '%s\t%s\n' '--reveal' 'Show personal data unmasked' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'sessions why'
            printf '%s\t%s\n' '--user' 'It is a user\'s id; looks at 100,000 living and 100,000 ended sessions' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'sessions export'
            printf '%s\t%s\n' '-o' 'ndjson or csv' '--output' 'ndjson or csv' '--cursor' 'Go on where another export has stopped; it says where' '--limit' 'Stop after about so many, and tell the cursor' '--max-seconds' 'Stop after this long; --cursor goes on' '--reveal' 'Show personal data unmasked' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'sessions create'
            printf '%s\t%s\n' '-f' 'A file with one JSON object; - for stdin' '--file' 'A file with one JSON object; - for stdin' '--id' 'Its id; one is made where none is given' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'sessions update'
            printf '%s\t%s\n' '--set' 'A field to set; may be repeated' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'sessions delete'
            printf '%s\t%s\n' '--user' 'All sessions of this user; the whole id' '--status' 'All sessions of this payment status' '--older-than' 'Only what was created longer ago, such as 2h' '--undo-file' 'Where to write the undo file; default: the state directory' '--max-seconds' 'Look for half of it, instead of 5 s and at 100,000 entries at most, and delete for the other half' '-y' 'Do not ask' '--yes' 'Do not ask' '--dry-run' 'Show what would be done, and change nothing' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'sessions restore'
            printf '%s\t%s\n' '--max-seconds' 'Stop after this long; the next run goes on' '--dry-run' 'Show what would be done, and change nothing' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'sessions extend'
            printf '%s\t%s\n' '--by' 'How much longer, such as 30m' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'sessions index'
            printf '%s\t%s\n' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'sessions index check'
            printf '%s\t%s\n' '--cursor' 'Go on where another run stopped; it says where' '--max-seconds' 'Stop after this long; --cursor goes on' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'sessions index repair'
            printf '%s\t%s\n' '--fix-ttl' 'Give sessions that never end the full time to live' '--max-seconds' 'Stop after this long; the next run goes on' '-y' 'Do not ask' '--yes' 'Do not ask' '--dry-run' 'Show what would be done, and change nothing' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'sessions index adopt'
            printf '%s\t%s\n' '--force' 'Even if another program was seen within a day' '--max-seconds' 'Stop after this long; the next run goes on' '-y' 'Do not ask' '--yes' 'Do not ask' '--dry-run' 'Show what would be done, and change nothing' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'users'
            printf '%s\t%s\n' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'users list'
            printf '%s\t%s\n' '--limit' 'Stop after so many; the last step of the scan may bring some more' '--cursor' 'Go on where another list stopped; it says where' '-o' 'Default: table' '--output' 'Default: table' '--json' 'Answer with one JSON document on stdout' '--reveal' 'Show personal data unmasked' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'users show'
            printf '%s\t%s\n' '--reveal' 'Show personal data unmasked' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'stats'
            printf '%s\t%s\n' '--since' 'How far to look back, 1m to 60m, in whole minutes' '--by' 'A line for each minute; or sessions created since then, by how their payment stands now' '-w' 'Look again every so many seconds, until Ctrl-C' '--watch' 'Look again every so many seconds, until Ctrl-C' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'cache'
            printf '%s\t%s\n' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'cache stats'
            printf '%s\t%s\n' '--since' 'How far to look back, 60m at most' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'cache delivery'
            printf '%s\t%s\n' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'cache delivery get'
            printf '%s\t%s\n' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'cache delivery set'
            printf '%s\t%s\n' '-y' 'Do not ask' '--yes' 'Do not ask' '--dry-run' 'Show what would be done, and change nothing' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'cache delivery list'
            printf '%s\t%s\n' '--limit' 'Stop after so many; the last step of the scan may bring some more' '--cursor' 'Go on where another list stopped; it says where' '-o' 'Default: table' '--output' 'Default: table' '--json' 'Answer with one JSON document on stdout' '--reveal' 'Show personal data unmasked' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'cache delivery invalidate'
            printf '%s\t%s\n' '--distance-from' 'Only from this distance on, which is included' '--distance-to' 'Only up to this distance, which is included' '-y' 'Do not ask' '--yes' 'Do not ask' '--dry-run' 'Show what would be done, and change nothing' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'cache coupon'
            printf '%s\t%s\n' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'cache coupon get'
            printf '%s\t%s\n' '--reveal' 'Show personal data unmasked' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'cache coupon set'
            printf '%s\t%s\n' '--context' 'What the shop asks with; the answer is for that alone' '-y' 'Do not ask' '--yes' 'Do not ask' '--dry-run' 'Show what would be done, and change nothing' '--reveal' 'Show personal data unmasked' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'cache coupon list'
            printf '%s\t%s\n' '--limit' 'Stop after so many; the last step of the scan may bring some more' '--cursor' 'Go on where another list stopped; it says where' '-o' 'Default: table' '--output' 'Default: table' '--json' 'Answer with one JSON document on stdout' '--reveal' 'Show personal data unmasked' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'cache coupon invalidate'
            printf '%s\t%s\n' '-y' 'Do not ask' '--yes' 'Do not ask' '--dry-run' 'Show what would be done, and change nothing' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'memory'
            printf '%s\t%s\n' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'memory show'
            printf '%s\t%s\n' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'memory families'
            printf '%s\t%s\n' '--sample' 'Estimate from so many keys, and say how far off that is' '--cursor' 'Go on where another run stopped; it says where' '--max-load' 'Keep Redis busy for no more than so much of the time' '--max-seconds' 'Stop after this long; --cursor goes on' '--biggest' 'How many of the biggest keys to show' '--reveal' 'Show personal data unmasked' '-o' 'Default: table' '--output' 'Default: table' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'memory tune'
            printf '%s\t%s\n' '--maxmemory' 'The limit, such as 256mb or 2gb; 0 is none' '--policy' 'What is evicted when full, such as noeviction' '--samples' 'Keys looked at to find one to evict (Redis: 5)' '--advise' 'Recommend a limit and a policy from the data' '--persist' 'Write it to the server\'s file (CONFIG REWRITE)' '--undo' 'Return to what it was before the last change' '--force' 'Even if the data does not fit, or others changed it since' '--dry-run' 'Show what would be done, and change nothing' '-y' 'Do not ask' '--yes' 'Do not ask' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'info'
            printf '%s\t%s\n' '--diff' 'Look twice, so far apart, and show what changed' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'slowlog'
            printf '%s\t%s\n' '-n' 'At most so many entries' '--limit' 'At most so many entries' '--reset' 'Drop all entries, after a question' '-y' 'Do not ask' '--yes' 'Do not ask' '--dry-run' 'Show what would be done, and change nothing' '-o' 'Default: table' '--output' 'Default: table' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'latency'
            printf '%s\t%s\n' '-n' 'How many round trips' '--samples' 'How many round trips' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'monitor'
            printf '%s\t%s\n' '--seconds' 'For how long to watch' '--count' 'Stop after so many commands' '--family' 'Only commands on keys of this family, such as sessions; repeatable' '--command' 'Only this command, such as KEYS; repeatable' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'bench'
            printf '%s\t%s\n' '--seconds' 'Measure for about so long' '--shoppers' 'So many at once' '--embedded' 'On a server and a database of its own, which is really killed' '-y' 'Do not ask' '--yes' 'Do not ask' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'setup'
            printf '%s\t%s\n' '--check' 'Only look; change nothing' '--redis-url' 'Where Redis is: redis://host:port/db, rediss:// with TLS, unix:///path' '--explain' 'Say what a check, a group or all of them look for, and stop' '-y' 'Do not ask' '--yes' 'Do not ask' '--timeout' 'Longest wait for one answer, in seconds' '--json' 'Answer with one JSON document on stdout' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'demo'
            printf '%s\t%s\n' '--fast' 'No pauses' '--keep' 'Leave the servers up at the end, until Ctrl-C' '--json' 'Answer with one JSON document on stdout' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'config'
            printf '%s\t%s\n' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'config show'
            printf '%s\t%s\n' '--json' 'Answer with one JSON document on stdout' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'config check'
            printf '%s\t%s\n' '--explain' 'Say what a check, a group or all of them look for, and stop' '--json' 'Answer with one JSON document on stdout' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'config set'
            printf '%s\t%s\n' '--json' 'Answer with one JSON document on stdout' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'config unset'
            printf '%s\t%s\n' '--json' 'Answer with one JSON document on stdout' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'migrate'
            printf '%s\t%s\n' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'migrate plan'
            printf '%s\t%s\n' '--rate' 'At most so many sessions a second' '--cursor' 'Go on where another run stopped; it says where' '--max-seconds' 'Stop after this long; --cursor goes on' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'migrate run'
            printf '%s\t%s\n' '--rate' 'At most so many sessions a second' '--restart' 'Forget the checkpoint and begin again' '--max-seconds' 'Stop after this long; the next run goes on' '--to' 'To another Redis: redis://user@host:6379/0' '--to-mode' 'What the other Redis is' '-q' 'Say nothing when all went well' '--quiet' 'Say nothing when all went well' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'migrate verify'
            printf '%s\t%s\n' '--sample' 'Compare about so many, evenly' '--cursor' 'Go on where another run stopped; it says where' '--max-seconds' 'Stop after this long; --cursor goes on' '--to' 'To another Redis: redis://user@host:6379/0' '--to-mode' 'What the other Redis is' '-q' 'Say nothing when all went well' '--quiet' 'Say nothing when all went well' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'migrate status'
            printf '%s\t%s\n' '--json' 'Answer with one JSON document on stdout' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'cleanup'
            printf '%s\t%s\n' '--expired' 'Remove what has expired' '--index' 'Repair the index: see `sessions index repair`' '--orphans' 'Remove copies and names that no session stands behind; asks' '--dry-run' 'Show what would be done, and change nothing' '--max-seconds' 'Stop after this long; the next run goes on' '--batch' 'Sessions in one step' '-y' 'Do not ask' '--yes' 'Do not ask' '-q' 'Say nothing when all went well' '--quiet' 'Say nothing when all went well' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'cron'
            printf '%s\t%s\n' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'cron print'
            printf '%s\t%s\n' '--format' 'For cron or systemd' '--json' 'Answer with one JSON document on stdout' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'cron install'
            printf '%s\t%s\n' '--dry-run' 'Show what would be done, and change nothing' '-y' 'Do not ask' '--yes' 'Do not ask' '--force' 'Also in a crontab that another tool writes' '--json' 'Answer with one JSON document on stdout' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'cron remove'
            printf '%s\t%s\n' '--dry-run' 'Show what would be done, and change nothing' '-y' 'Do not ask' '--yes' 'Do not ask' '--force' 'Also in a crontab that another tool writes' '--json' 'Answer with one JSON document on stdout' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'cron status'
            printf '%s\t%s\n' '--json' 'Answer with one JSON document on stdout' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'cron run'
            printf '%s\t%s\n' '--jitter' 'Wait at most so many seconds first' '--json' 'Answer with one JSON document on stdout' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'serve'
            printf '%s\t%s\n' '--host' 'The address to listen at; any but loopback needs a token' '--port' 'The port' '--allow-host' 'Another name by which clients call it; repeatable' '--print-rules' 'Write alert rules for Prometheus to stdout, and serve nothing' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'acl'
            printf '%s\t%s\n' '--json' 'Answer with one JSON document on stdout' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'acl reader'
            printf '%s\t%s\n' '--user' 'The user\'s name' '--json' 'Answer with one JSON document on stdout' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'acl operator'
            printf '%s\t%s\n' '--user' 'The user\'s name' '--json' 'Answer with one JSON document on stdout' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'acl application'
            printf '%s\t%s\n' '--user' 'The user\'s name' '--json' 'Answer with one JSON document on stdout' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'acl check'
            printf '%s\t%s\n' '--role' 'Whose commands to check' '--json' 'Answer with one JSON document on stdout' '--timeout' 'Longest wait for one answer, in seconds' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'completion'
            printf '%s\t%s\n' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'completion show'
            printf '%s\t%s\n' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'completion install'
            printf '%s\t%s\n' '--shell' 'Default: the one of $SHELL' '--dry-run' 'Show what would be done, and change nothing' '-y' 'Do not ask' '--yes' 'Do not ask' '--json' 'Answer with one JSON document on stdout' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
        case 'help'
            printf '%s\t%s\n' '--json' 'Answer with one JSON document on stdout' '-h' 'Show this message and exit.' '--help' 'Show this message and exit.'
    end
end

function __checkoutctl_values
    switch "$argv[1]"
        case ' -C' ' --directory'
            __checkoutctl_files "$argv[2]"
        case 'doctor --only'
            string split ' ' -- 'connection serving sessions memory database jobs privacy security speed host blocking-commands cache-hit-rate capability card-data certificate cleanup-overdue clients clock clocksource configuration conflicts connect data-directory database database-clock database-encoding database-space database-write drift eviction-policy evictions expired-rows expiry-index expiry-lag exposure external-writers fork fragmentation hit-rate index-dangling index-kind index-missing install job-locks kernel-overcommit key-names latency-events loading managed memory-headroom memory-limit memory-overheads payload pending persistence port-in-use redirects redis-emptied refused-commands replication requirements round-trip secrets server-version session-ttl shared slow-log slow-log-data somaxconn stampede statistics-gap swap topology transparent-huge-pages transport user-fields write'
        case 'doctor --skip'
            string split ' ' -- 'connection serving sessions memory database jobs privacy security speed host blocking-commands cache-hit-rate capability card-data certificate cleanup-overdue clients clock clocksource configuration conflicts connect data-directory database database-clock database-encoding database-space database-write drift eviction-policy evictions expired-rows expiry-index expiry-lag exposure external-writers fork fragmentation hit-rate index-dangling index-kind index-missing install job-locks kernel-overcommit key-names latency-events loading managed memory-headroom memory-limit memory-overheads payload pending persistence port-in-use redirects redis-emptied refused-commands replication requirements round-trip secrets server-version session-ttl shared slow-log slow-log-data somaxconn stampede statistics-gap swap topology transparent-huge-pages transport user-fields write'
        case 'doctor --explain'
            string split ' ' -- 'blocking-commands cache-hit-rate capability card-data certificate cleanup-overdue clients clock clocksource configuration conflicts connect data-directory database database-clock database-encoding database-space database-write drift eviction-policy evictions expired-rows expiry-index expiry-lag exposure external-writers fork fragmentation hit-rate index-dangling index-kind index-missing install job-locks kernel-overcommit key-names latency-events loading managed memory-headroom memory-limit memory-overheads payload pending persistence port-in-use redirects redis-emptied refused-commands replication requirements round-trip secrets server-version session-ttl shared slow-log slow-log-data somaxconn stampede statistics-gap swap topology transparent-huge-pages transport user-fields write'
        case 'doctor --fail-on'
            string split ' ' -- 'warn crit'
        case 'incident --out'
            __checkoutctl_files "$argv[2]"
        case 'sync -o' 'sync --output'
            string split ' ' -- 'table json ndjson csv ids'
        case 'sync --keep'
            string split ' ' -- 'database written'
        case 'sessions list --status'
            string split ' ' -- 'pending processing paid failed cancelled unreadable'
        case 'sessions list --sort'
            string split ' ' -- 'newest oldest expires total status'
        case 'sessions list --tier'
            string split ' ' -- 'redis database memory'
        case 'sessions list -o' 'sessions list --output'
            string split ' ' -- 'table json ndjson csv ids'
        case 'sessions export -o' 'sessions export --output'
            string split ' ' -- 'ndjson csv'
        case 'sessions delete --status'
            string split ' ' -- 'pending processing paid failed cancelled unreadable'
        case 'sessions delete --undo-file'
            __checkoutctl_files "$argv[2]"
        case 'users list -o' 'users list --output'
            string split ' ' -- 'table json ndjson csv ids'
        case 'stats --by'
            string split ' ' -- 'minute status'
        case 'cache delivery list -o' 'cache delivery list --output'
            string split ' ' -- 'table json ndjson csv ids'
        case 'cache coupon list -o' 'cache coupon list --output'
            string split ' ' -- 'table json ndjson csv ids'
        case 'memory families -o' 'memory families --output'
            string split ' ' -- 'table json ndjson csv ids'
        case 'slowlog -o' 'slowlog --output'
            string split ' ' -- 'table json ndjson csv ids'
        case 'monitor --family'
            string split ' ' -- 'sessions index delivery coupon users stats ours other'
        case 'config check --explain'
            string split ' ' -- 'env-files values password-files transport tls-files lifetimes database-url'
        case 'migrate run --to-mode'
            string split ' ' -- 'standalone cluster'
        case 'migrate verify --to-mode'
            string split ' ' -- 'standalone cluster'
        case 'cron print --format'
            string split ' ' -- 'crontab systemd'
        case 'acl check --role'
            string split ' ' -- 'reader operator application'
        case 'completion install --shell'
            string split ' ' -- 'bash zsh fish'
    end
end

complete -c checkoutctl -f -a '(__checkoutctl_offer)'
