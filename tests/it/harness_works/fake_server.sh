#!/bin/sh
# Stands in for `eventflow serve` in the tests of the harness itself.
for argument; do
    case $argument in
    --data-dir=*) data=${argument#*=} ;;
    --listen=*) listen=${argument#*=} ;;
    --refuse=*) echo "refused: ${argument#*=}" && exit 2 ;;
    esac
done
trap 'echo draining; exit 7' TERM
echo "asked for $listen over ${EVENTFLOW_DATABASE_URL-a file}"
mkdir -p "$data"
printf '{"listen":"%s","http_listen":"127.0.0.1:9","pid":%s,"instance":"%s"}' \
    "${FAKE_LISTEN-127.0.0.1:9}" "$$" "$$" >"$data/server.json"
while :; do sleep 0.05; done
