#!/usr/bin/env bash
# Checks what deploy/ has: each file by its own tool, its settings against the program's, and the proxy for real, with
# two servers on one Postgres behind it: streams go to both, and those of a stopped server go on at the other.
#
# usage: tests/deploy.sh [PROGRAM]    otherwise the program is built
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for name in $(compgen -e EVENTFLOW_ || true); do unset "$name"; done
program=${1:-}
if ! [[ $program ]]; then
    cargo build --quiet --locked --bin eventflow
    program=${CARGO_TARGET_DIR:-target}/debug/eventflow
fi
program=$(realpath "$program")

folder=$(mktemp -d "${TMPDIR:-/tmp}/eventflow-deploy.XXXXXX")
chmod 711 "$folder"
pids=()

# stop: ends what was started, the last one first.
stop() {
    local index
    for ((index = ${#pids[@]} - 1; index >= 0; index--)); do
        kill -TERM "${pids[index]}" 2>/dev/null || true
        wait "${pids[index]}" 2>/dev/null || true
    done
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "$*" >&2
    tail -n 5 "$folder"/*.log >&2 || true
    exit 1
}

# until_true WHAT COMMAND...: waits up to 30 s for a command to succeed.
until_true() {
    local what=$1 attempt
    shift
    for ((attempt = 0; attempt < 300; attempt++)); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.1
    done
    fail "waited 30 s: $what"
}

install_tools() {
    local missing=() pair
    for pair in haproxy:haproxy docker-compose:docker-compose systemd-analyze:systemd curl:curl; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
    done
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
    ((${#missing[@]})) || return 0
    if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
        echo "the checks of deploy/ need these Debian packages: ${missing[*]}" >&2
        return 1
    fi
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}"
}

check_files() {
    haproxy -c -q -f deploy/haproxy.cfg 2>"$folder/haproxy-check.log" || fail 'HAProxy refuses its configuration'
    docker-compose -f deploy/compose.yaml config --quiet
    # The unit names where the program is installed.
    mkdir "$folder/unit"
    sed "s#/usr/local/bin/eventflow#$program#" deploy/systemd/eventflow.service >"$folder/unit/eventflow.service"
    systemd-analyze verify "$folder/unit/eventflow.service"
    systemd-analyze security --offline=true --threshold=20 --no-pager "$folder/unit/eventflow.service" >"$folder/security.log" ||
        fail 'the unit is exposed more than 2.0'
}

check_settings() {
    local used name count=0
    "$program" settings >"$folder/settings"
    used=$(grep -rhoE 'EVENTFLOW_[A-Z_]+' deploy | sort -u)
    for name in $used; do
        grep -q "\`$name\`" "$folder/settings" || fail "deploy/ sets $name, which is no setting"
        count=$((count + 1))
    done
    ((count >= 4)) || fail "deploy/ has $count settings only: the check looks at the wrong place"
}

start_postgres() {
    local bin data=$folder/postgres as=()
    bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin | sort -V | tail -1)
    mkdir -m 700 "$data"
    if [[ $(id -u) -eq 0 ]]; then
        chown postgres: "$data"
        as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
    fi
    (cd / && "${as[@]}" "$bin/initdb" -D "$data/data" -U eventflow -A trust --no-sync >"$folder/initdb.log" 2>&1)
    (cd / && exec "${as[@]}" "$bin/postgres" -D "$data/data" -k "$data" -c listen_addresses= >"$folder/postgres.log" 2>&1) &
    pids+=($!)
    database_url="postgres://eventflow@localhost:5432/postgres?host=$data"
    until_true 'Postgres' "$bin/pg_isready" -h "$data" -U eventflow
}

# start_server NAME: its data folder is $folder/NAME; sets started.
start_server() {
    EVENTFLOW_DATABASE_URL=$database_url "$program" serve --listen 127.0.0.1:0 --http-listen 127.0.0.1:0 \
        --data-dir "$folder/$1" >"$folder/$1.log" 2>&1 &
    started=$!
    pids+=("$started")
    until_true "server $1" test -e "$folder/$1/server.json"
}

# port NAME FIELD: the port that a server listens on.
port() {
    sed "s/.*\"$2\":\"[^\"]*:\([0-9]*\)\".*/\1/" "$folder/$1/server.json"
}

# start_proxy: with the configuration that is deployed, but for addresses.
start_proxy() {
    proxy=$((20000 + RANDOM % 12000))
    sed -e "s/bind :50051/bind 127.0.0.1:$proxy/" \
        -e "s/eventflow-1:50051/127.0.0.1:$(port first listen) port $(port first http_listen)/" \
        -e "s/eventflow-2:50051/127.0.0.1:$(port second listen) port $(port second http_listen)/" \
        deploy/haproxy.cfg >"$folder/haproxy.cfg"
    haproxy -db -f "$folder/haproxy.cfg" >"$folder/haproxy.log" 2>&1 &
    pids+=($!)
    until_true 'the proxy' eventflow health
}

eventflow() {
    "$program" --server "http://127.0.0.1:$proxy" --data-dir "$folder/first" "$@"
}

# streams NAME: how many a server has open.
streams() {
    curl --silent --fail --noproxy '*' "http://127.0.0.1:$(port "$1" http_listen)/metrics" |
        awk '/^eventflow_subscriptions / { print $2 }'
}

both_have_streams() {
    (($(streams first) + $(streams second) == readers && $(streams first) > 0 && $(streams second) > 0))
}

all_moved() {
    (($(streams second) == readers))
}

# publish FIRST LAST: one call for each event.
publish() {
    local number
    for ((number = $1; number <= $2; number++)); do
        eventflow publish orders --type order.placed --data "{\"order\":$number}" >/dev/null
    done
}

have_all() {
    local reader
    for ((reader = 1; reader <= readers; reader++)); do
        (($(wc -l <"$folder/reader.$reader") >= events)) || return 1
    done
}

check_proxy() {
    local reader first
    readers=6 events=40
    start_postgres
    start_server first && first=$started
    start_server second
    export XDG_CONFIG_HOME=$folder/config
    start_proxy
    eventflow login admin --password-file "$folder/first/admin-password" >/dev/null
    eventflow topic create orders >/dev/null
    for ((reader = 1; reader <= readers; reader++)); do
        eventflow tail orders --earliest --output json >"$folder/reader.$reader" 2>"$folder/reader.$reader.log" &
        pids+=($!)
    done
    until_true 'streams on both servers' both_have_streams
    publish 1 20
    kill -TERM "$first"
    publish 21 "$events"
    wait "$first" || fail "the first server ended with $?"
    until_true 'all streams on the server that is left' all_moved
    until_true 'every event at every reader' have_all
    for ((reader = 1; reader <= readers; reader++)); do
        seq "$events" | diff - <(sed 's/.*"offset":"\([0-9]*\)".*/\1/' "$folder/reader.$reader") >/dev/null ||
            fail "reader $reader did not get offsets 1 to $events, each once"
    done
    echo "the proxy: $readers streams on two servers, all moved from one that stopped; $events events each, none lost or twice"
}

install_tools
check_files
check_settings
check_proxy
echo 'deploy/ holds'
