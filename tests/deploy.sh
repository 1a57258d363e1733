#!/usr/bin/env bash
# Checks what deploy/ has: each file by its own tool, its settings against the program's, and the proxy for real, with
# two servers on one Postgres behind it: streams go to both, so do the calls of one connection, and the streams of a
# stopped server go on at the other. What is for Grafana and Prometheus is checked by tests/deploy.rs.
#
# usage: tests/deploy.sh [PROGRAM]    otherwise the program is built
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=tests/servers.sh
. tests/servers.sh

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

# start_proxy: with the configuration that is deployed, but for addresses and a full log. Sets client, what calls it.
start_proxy() {
    local attempt pid proxy
    for ((attempt = 0; attempt < 20; attempt++)); do
        proxy=$((20000 + RANDOM % 12000))
        sed -e '/dontlog-normal/d' -e "s/bind :50051/bind 127.0.0.1:$proxy/" \
            -e "s/eventflow-1:50051/127.0.0.1:$(port first listen) port $(port first http_listen)/" \
            -e "s/eventflow-2:50051/127.0.0.1:$(port second listen) port $(port second http_listen)/" \
            deploy/haproxy.cfg >"$folder/haproxy.cfg"
        haproxy -db -f "$folder/haproxy.cfg" >"$folder/haproxy.log" 2>&1 &
        pid=$!
        # Another program may have the port.
        sleep 0.5
        if kill -0 "$pid" 2>/dev/null; then
            pids+=("$pid")
            client=("$program" --server "http://127.0.0.1:$proxy" --data-dir "$folder/first")
            until_true 'the proxy' eventflow health
            return
        fi
    done
    fail 'the proxy finds no free port'
}

eventflow() {
    "${client[@]}" "$@"
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

# check_connection: a consumer's stream goes to one server, and the commits on the same connection to the other.
check_connection() {
    eventflow consumer register billing orders >/dev/null
    eventflow tail --consumer billing --until-head >/dev/null
    # The proxy's log has the address of the client, and the server.
    until_true 'calls of one connection on both servers' calls_are_spread
}

calls_are_spread() {
    sed -n 's#^\(127.0.0.1:[0-9]*\) .* servers/\(eventflow-[12]\) .*ConsumerService.*#\1 \2#p' "$folder/haproxy.log" |
        sort -u | cut -d ' ' -f 1 | uniq -d | grep -q .
}

check_proxy() {
    local reader first
    readers=6 events=40
    start_postgres
    export EVENTFLOW_DATABASE_URL=$database_url
    start_server first && first=$started
    start_server second
    start_proxy
    eventflow login admin --password-file "$folder/first/admin-password" >/dev/null
    eventflow topic create orders >/dev/null
    for ((reader = 1; reader <= readers; reader++)); do
        "${client[@]}" tail orders --earliest --output json >"$folder/reader.$reader" 2>"$folder/reader.$reader.log" &
        pids+=($!)
    done
    until_true 'streams on both servers' both_have_streams
    publish 1 20
    check_connection
    kill -TERM "$first"
    publish 21 "$events"
    wait "$first" || fail "the first server ended with $?"
    until_true 'all streams on the server that is left' all_moved
    until_true 'every event at every reader' have_all
    for ((reader = 1; reader <= readers; reader++)); do
        seq "$events" | diff - <(sed 's/.*"offset":"\([0-9]*\)".*/\1/' "$folder/reader.$reader") >/dev/null ||
            fail "reader $reader did not get offsets 1 to $events, each once"
    done
    echo "the proxy: $readers streams on two servers, as the calls of one connection are, and all moved from one that stopped; $events events each, none lost or twice"
}

install_tools haproxy:haproxy docker-compose:docker-compose systemd-analyze:systemd curl:curl
check_files
check_settings
check_proxy
echo 'deploy/ holds'
