#!/usr/bin/env bash
# Runs the commands of docs/backup.md, on a Postgres of its own and on the embedded store: backs up, goes on working,
# loses the store, restores it, and checks what the page says that callers see.
#
# usage: tests/backup.sh [PROGRAM]    otherwise the program is built
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tests/servers.sh
. tests/servers.sh

page=$PWD/docs/backup.md
before=100

# block NAME: runs a block of the page, in $work, with `eventflow` and the tools of Postgres in the PATH.
block() {
    local commands
    commands=$(awk -v fence="\`\`\`sh $1" '$0 == fence { inside = 1; next } /^```/ { inside = 0 } inside' "$page")
    [[ $commands ]] || fail "the page has no block $1"
    (cd "$work" && PATH=$folder/bin:$postgres_bin:$PATH bash -euo pipefail -c "$commands")
}

eventflow() {
    "${client[@]}" "$@"
}

# serve: starts the server of the store; the first time on a free port, then on the same one. Sets server, and client,
# what calls it.
serve() {
    start_server "$store/data" "$port"
    port=$(port "$store/data" listen)
    server=$started
    client=("$program" --server "http://127.0.0.1:$port" --data-dir "$work/data")
}

# end_server: what it exits with is that of a drain.
end_server() {
    kill -TERM "$server"
    wait "$server" || fail "the server ended with $?"
}

# numbered NAME FIRST LAST: events with ids, one a line.
numbered() {
    seq "$2" "$3" | sed "s/.*/{\"id\": \"$1-&\", \"type\": \"order.placed\", \"key\": \"order-&\", \"text\": \"&\"}/"
}

# log: every event of the topic, as JSON.
log() {
    eventflow tail orders --earliest --until-head --output json
}

# billing FIELD: the number in a field of the consumer.
billing() {
    eventflow consumer get billing --output json | sed "s/.*\"$1\":\"\([0-9]*\)\".*/\1/"
}

# published ID: where an event of this id is recorded.
published() {
    numbered "${1%-*}" "${1#*-}" "${1#*-}" | eventflow publish orders --envelope | cut -d ' ' -f 1
}

# fill: what is in the backup.
fill() {
    eventflow topic create orders >/dev/null
    numbered before 1 "$before" | eventflow publish orders --envelope >/dev/null
    eventflow consumer register billing orders >/dev/null
    eventflow tail --consumer billing --count 40 >/dev/null
    eventflow user create nightly --role viewer --program >/dev/null
    key=$(eventflow key create users/nightly | grep -o 'efk_[0-9A-Za-z_-]*')
}

# go_on: what is not in the backup; a stream is open all the time.
go_on() {
    log >"$work/log"
    numbered after 1 50 | eventflow publish orders --envelope >/dev/null
    eventflow tail --consumer billing --count 50 >/dev/null
    epoch=$(billing epoch)
    id=${key#efk_}
    eventflow key revoke "${id%%_*}" --yes >/dev/null
    ! EVENTFLOW_API_KEY=$key eventflow whoami >/dev/null 2>&1 || fail 'a revoked key works'
    eventflow user create eve --role viewer --program >/dev/null
    "${client[@]}" tail orders --earliest >"$work/reader" 2>"$work/reader.log" &
    reader=$!
    pids+=("$reader")
    until_true 'an event at the reader' test -s "$work/reader"
}

reader_ended() {
    ! kill -0 "$reader"
}

# check_restored: what the page says.
check_restored() {
    local head users
    until_true 'the end of the reader' reader_ended
    if wait "$reader"; then fail 'the reader did not notice'; fi
    grep -q LOG_REPLACED "$work/reader.log" || fail "the reader ended otherwise: $(cat "$work/reader.log")"

    log >"$work/restored"
    head=$(wc -l <"$work/restored")
    ((head >= before)) || fail "$head events were restored, of $before"
    head -n "$head" "$work/log" | cmp - "$work/restored" || fail 'events are not what they were'

    (($(billing offset) == 40)) || fail "the consumer is at $(billing offset)"
    (($(billing epoch) > epoch)) || fail "the epoch went from $epoch to $(billing epoch)"
    (($(published before-7) == 7)) || fail 'an id of the backup is not known'
    (($(published after-1) == head + 1)) || fail 'an id from after the backup is known'

    EVENTFLOW_API_KEY=$key eventflow whoami >/dev/null || fail 'a key of the backup does not work'
    users=$(eventflow user list --output json)
    [[ $users = *'"nightly"'* && $users != *'"eve"'* ]] || fail "users are not those of the backup: $users"
    echo "$store: $head events restored as they were; readers, consumers, ids and keys see what the page says"
}

# begin STORE: a folder of its own.
begin() {
    store=$1 port='' work=$folder/$1
    mkdir -p "$work/data"
    export EVENTFLOW_DATA_DIR=$work/data
}

check_postgres() {
    local writer
    begin postgres
    export EVENTFLOW_DATABASE_URL=$database_url
    serve
    eventflow login admin --password-file "$work/data/admin-password" >/dev/null
    fill
    numbered meanwhile 1 20000 | "${client[@]}" publish orders --envelope >/dev/null &
    writer=$!
    pids+=("$writer")
    block back-up-postgres
    wait "$writer"
    go_on
    end_server
    "$postgres_bin/psql" --quiet "$database_url" --command 'create database restored'
    export EVENTFLOW_DATABASE_URL=${database_url/5432\/postgres/5432\/restored}
    block restore-postgres >"$work/migrate.log"
    grep -q 'New logs: 1' "$work/migrate.log" || fail 'no log was made anew'
    serve
    check_restored
    end_server
    unset EVENTFLOW_DATABASE_URL
}

check_embedded() {
    begin embedded
    serve
    fill
    end_server
    block back-up-embedded
    serve
    go_on
    end_server
    block restore-embedded >"$work/migrate.log"
    grep -q 'New logs: 1' "$work/migrate.log" || fail 'no log was made anew'
    serve
    check_restored
}

install_tools awk:mawk
mkdir "$folder/bin"
ln -s "$program" "$folder/bin/eventflow"
start_postgres
check_postgres
check_embedded
