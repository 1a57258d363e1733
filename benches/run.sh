#!/usr/bin/env bash
# Measures EventFlow as it is run in production: a release build on a Postgres that waits for the disk, and Redis.
#
# usage: benches/run.sh [--peer] [--program FILE] [OPTION OR WORKLOAD of eventflow bench...]
#
# It builds the program, unless one is given, starts a Postgres, a Redis and two servers of its own, runs
# `eventflow bench`, and removes everything again. The second server is for the readers of latency_two_servers only;
# publish_single also prints raw_commit.p50, what a commit of one plain row takes in the same Postgres.
# Lines are the workload, the median of the runs, and its unit.
#
# With --peer, NATS JetStream runs the same workloads in turns with EventFlow, as it ships (it syncs to disk every two
# minutes) and with a sync before every acknowledgement, which is what EventFlow promises; then a table shows both, and
# how many times the peer's figure EventFlow's is. See peers/run.sh.
#
# Data lies in TMPDIR, or /tmp: let it be on the disk that is to be measured.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

workloads=(publish_pipelined publish_batched publish_unary publish_single publish_dedup publish_dedup_random
    publish_spread rpc_empty replay fanout latency idle growth queue queue_keyed)
with_peer=(publish_pipelined publish_unary publish_single replay fanout latency queue)

wanted=() options=() peer='' program='' runs=3 events=200000
while (($#)); do
    case $1 in
        --peer) peer=1 ;;
        --program) program=$(realpath "${2:?"--program needs a file"}") && shift ;;
        --runs) runs=${2:?"--runs needs a number"} && shift ;;
        --events) events=${2:?"--events needs a number"} && shift ;;
        -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" && exit ;;
        --*=*) options+=("$1") ;;
        --*) options+=("$1" "${2:?"$1 needs a value"}") && shift ;;
        *) wanted+=("$1") ;;
    esac
    shift
done
((${#wanted[@]})) || wanted=("${workloads[@]}")

folder=$(mktemp -d "${TMPDIR:-/tmp}/eventflow-bench.XXXXXX")
chmod 711 "$folder"
pids=()

# stop: ends what was started, the last one first, and removes its data.
stop() {
    trap '' INT TERM
    local index
    for ((index = ${#pids[@]} - 1; index >= 0; index--)); do
        # SIGINT is what Postgres takes for a fast shutdown; to the others it is as good as SIGTERM.
        kill -INT "${pids[index]}" 2>/dev/null || true
        wait "${pids[index]}" 2>/dev/null || true
    done
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# until_true WHAT COMMAND...: waits up to 30 s for a command to succeed.
until_true() {
    local what=$1 attempt
    shift
    for ((attempt = 0; attempt < 300; attempt++)); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.1
    done
    echo "$what does not start; its log:" >&2
    cat "$folder"/*.log >&2
    return 1
}

# postgres_folder: prints where initdb and postgres are; Debian keeps them out of the PATH.
postgres_folder() {
    local found
    found=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -1)
    [[ -x $found/initdb ]] || found=$(dirname "$(readlink -f "$(command -v initdb || true)")")
    [[ -x $found/initdb && -x $found/postgres ]] || {
        echo 'this needs Postgres (initdb, postgres): install the package postgresql' >&2
        return 1
    }
    echo "$found"
}

# as_postgres COMMAND...: Postgres refuses to run as root.
as_postgres() {
    if [[ $(id -u) -eq 0 ]]; then
        set -- setpriv --reuid=postgres --regid=postgres --clear-groups "$@"
    fi
    exec "$@"
}

start_postgres() {
    local data=$folder/postgres
    mkdir -m 700 "$data"
    if [[ $(id -u) -eq 0 ]]; then chown postgres: "$data"; fi
    (cd / && as_postgres "$bin/initdb" -D "$data/data" -U eventflow -A trust --no-sync >"$folder/initdb.log" 2>&1)
    (cd / && as_postgres "$bin/postgres" -D "$data/data" -k "$data" -c listen_addresses= -c fsync=on \
        -c shared_buffers=512MB -c max_wal_size=4GB >"$folder/postgres.log" 2>&1) &
    pids+=($!)
    database_url="postgres://eventflow@localhost:5432/postgres?host=$data"
    until_true Postgres "$bin/pg_isready" -h "$data" -U eventflow
}

start_redis() {
    local attempt port
    for ((attempt = 0; attempt < 20; attempt++)); do
        port=$((20000 + RANDOM % 12000))
        redis-server --bind 127.0.0.1 --port "$port" --save '' --dir "$folder" >"$folder/redis.log" 2>&1 &
        local pid=$!
        # Another program may have the port.
        sleep 0.3
        if kill -0 "$pid" 2>/dev/null; then
            pids+=("$pid")
            redis_url="redis://127.0.0.1:$port"
            until_true Redis redis-cli -p "$port" ping
            return
        fi
    done
    echo 'Redis finds no free port' >&2
    return 1
}

# start_server NAME: its data folder is $folder/NAME.
start_server() {
    EVENTFLOW_DATABASE_URL=$database_url EVENTFLOW_REDIS_URL=$redis_url "$program" serve \
        --listen 127.0.0.1:0 --http-listen 127.0.0.1:0 --data-dir "$folder/$1" >"$folder/$1.log" 2>&1 &
    pids+=($!)
    until_true 'the server' test -e "$folder/$1/server.json"
}

# address NAME FIELD: where a server listens.
address() {
    sed "s/.*\"$2\":\"\([^\"]*\)\".*/\1/" "$folder/$1/server.json"
}

# machine: what the figures are figures of.
machine() {
    local cpu
    cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -1)
    echo "# $(nproc) cores, ${cpu:-unknown CPU}, $(uname -sr), $(df --output=fstype "$folder" | tail -1) in $(dirname "$folder")"
    echo "# $("$bin/postgres" --version), fsync on; Redis $(redis-server --version | sed 's/.*v=\([^ ]*\).*/\1/')"
    echo "# $("$program" --version), commit $(git -C "$root" describe --always --dirty 2>/dev/null || echo unknown)"
    echo "# $(uptime | sed 's/.*load/load/'); $runs runs of $events events"
}

# raw_commit: the least that publish_single can take, beside an empty call (rpc_empty.p50): the median time that one
# connection of pgbench takes to insert and commit a plain row of an event's size, in the same database.
raw_commit() {
    local log=$folder/raw_commit database=(-h "$folder/postgres" -U eventflow postgres)
    "$bin/psql" -qX "${database[@]}" -c 'create table if not exists raw_commit (id bigserial primary key, payload text)'
    echo "insert into raw_commit (payload) values (repeat('x', 200))" >"$log.sql"
    "$bin/pgbench" -n -c 1 -t 2000 -M prepared -f "$log.sql" -l --log-prefix="$log" "${database[@]}" >"$log.out" 2>&1 ||
        { cat "$log.out" >&2 && return 1; }
    cut -d ' ' -f 3 "$log".[0-9]* | sort -n | awk '{ times[NR] = $1 } END { printf "raw_commit.p50\t%d\tus\n", times[int((NR + 1) / 2)] }'
    rm "$log".[0-9]*
}

# bench WORKLOAD RUNS: the lines of a workload, and those of the second server where it is used.
bench() {
    local arguments=(--runs "$2" --events "$events" "${options[@]}")
    "$program" bench "$1" --metrics-url "$(address first http_listen)" "${arguments[@]}"
    if [[ $1 = latency ]]; then
        "$program" bench latency --second-server "$(address second listen)" "${arguments[@]}" |
            sed 's/^latency/latency_two_servers/'
    elif [[ $1 = publish_single ]]; then
        raw_commit
    fi
}

# compare: runs the workloads in turns with the peer's, and prints a table of medians.
compare() {
    local workload run sync
    for workload in "${wanted[@]}"; do
        for ((run = 1; run <= runs; run++)); do
            echo "$workload, run $run of $runs" >&2
            bench "$workload" 1 | sed 's/^/ours\t/'
            [[ " ${with_peer[*]} " = *" $workload "* ]] || continue
            for sync in default always; do
                "$root/benches/peers/run.sh" --sync "$sync" --events "$events" "$workload" | sed "s/^/$sync\t/"
            done
        done
    done >"$folder/lines"
    awk -F '\t' -v OFS='\t' '
        { key = $1 FS $2; values[key] = values[key] " " $3; unit[$2] = $4 }
        !($2 in seen) { seen[$2] = 1; order[++names] = $2 }
        function median(key, list, count, i, j, swap) {
            count = split(values[key], list, " ")
            for (i = 2; i <= count; i++)
                for (j = i; j > 1 && list[j - 1] + 0 > list[j] + 0; j--) {
                    swap = list[j]; list[j] = list[j - 1]; list[j - 1] = swap
                }
            return count ? list[int(count / 2) + 1] : "-"
        }
        function ratio(ours, peer) { return ours > 0 && peer > 0 ? sprintf("%.2f", ours / peer) : "-" }
        BEGIN { print "workload", "unit", "EventFlow", "peer", "ratio", "peer, synced", "ratio" }
        END {
            for (i = 1; i <= names; i++) {
                name = order[i]
                ours = median("ours" FS name); peer = median("default" FS name); synced = median("always" FS name)
                print name, unit[name], ours, peer, ratio(ours, peer), synced, ratio(ours, synced)
            }
        }' "$folder/lines" | column -t -s $'\t'
}

# What is set for other servers is not meant for these.
for variable in $(compgen -e EVENTFLOW_ || true); do unset "$variable"; done
bin=$(postgres_folder)
for needed in redis-server redis-cli; do
    command -v "$needed" >/dev/null || { echo "this needs $needed" >&2 && exit 1; }
done
if ! [[ $program ]]; then
    command -v cargo >/dev/null || { echo 'this needs cargo, or a --program' >&2 && exit 1; }
    cargo build --release --locked --quiet --manifest-path "$root/Cargo.toml" --bin eventflow
    program=${CARGO_TARGET_DIR:-$root/target}/release/eventflow
fi
if [[ $peer ]]; then "$root/benches/peers/run.sh" --prepare; fi

start_postgres
start_redis
start_server first
start_server second
export XDG_CONFIG_HOME=$folder EVENTFLOW_DATA_DIR=$folder/first
"$program" login admin --password-file "$folder/first/admin-password" >/dev/null
machine
if [[ $peer ]]; then
    echo "# peer: $("$root/benches/peers/run.sh" --version)"
    compare
else
    for workload in "${wanted[@]}"; do bench "$workload" "$runs"; done
fi
