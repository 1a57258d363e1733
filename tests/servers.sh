# shellcheck shell=bash
# Sourced by the tests that start servers and a Postgres of their own, from within the repository, with the arguments
# of the test: [PROGRAM], which is otherwise built. Sets:
#
#   program   what is tested
#   folder    a new folder; it goes at the end, when all that was started is ended
#   pids      what was started

# What is set for other servers is not meant for these.
for name in $(compgen -e EVENTFLOW_ || true); do unset "$name"; done
program=${1:-}
if ! [[ $program ]]; then
    cargo build --quiet --locked --bin eventflow
    program=${CARGO_TARGET_DIR:-target}/debug/eventflow
fi
program=$(realpath "$program")

folder=$(mktemp -d "${TMPDIR:-/tmp}/eventflow-servers.XXXXXX")
chmod 711 "$folder"
export XDG_CONFIG_HOME=$folder/config
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

# install_tools COMMAND:PACKAGE...: installs the Debian packages of commands that are missing, and of Postgres.
install_tools() {
    local missing=() pair
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
    done
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
    ((${#missing[@]})) || return 0
    if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
        echo "this test needs these Debian packages: ${missing[*]}" >&2
        return 1
    fi
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}"
}

# start_postgres: sets postgres_bin, and database_url.
start_postgres() {
    local data=$folder/postgres as=()
    postgres_bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin | sort -V | tail -1)
    mkdir -m 700 "$data"
    # Postgres refuses to run as root.
    if [[ $(id -u) -eq 0 ]]; then
        chown postgres: "$data"
        as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
    fi
    (cd / && "${as[@]}" "$postgres_bin/initdb" -D "$data/data" -U eventflow -A trust --no-sync >"$folder/initdb.log" 2>&1)
    (cd / && exec "${as[@]}" "$postgres_bin/postgres" -D "$data/data" -k "$data" -c listen_addresses= \
        >"$folder/postgres.log" 2>&1) &
    pids+=($!)
    # shellcheck disable=SC2034  # for the tests
    database_url="postgres://eventflow@localhost:5432/postgres?host=$data"
    until_true 'Postgres' "$postgres_bin/pg_isready" -h "$data" -U eventflow
}

# start_server NAME [PORT]: its data folder is $folder/NAME; embedded unless EVENTFLOW_DATABASE_URL is set. Sets started.
start_server() {
    "$program" serve --listen "127.0.0.1:${2:-0}" --http-listen 127.0.0.1:0 --data-dir "$folder/$1" \
        >>"$folder/$1.log" 2>&1 &
    started=$!
    pids+=("$started")
    until_true "server $1" is_up "$1"
}

# is_up NAME: server.json stays behind when a server is killed, so its process is looked at.
is_up() {
    grep -q "\"pid\":${started}[,}]" "$folder/$1/server.json"
}

# port NAME FIELD: the port that a server listens on.
port() {
    sed "s/.*\"$2\":\"[^\"]*:\([0-9]*\)\".*/\1/" "$folder/$1/server.json"
}
