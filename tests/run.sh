#!/usr/bin/env bash
# Runs every test, and says at the end how many passed and failed.
#
# usage: tests/run.sh [OPTION OF cargo test...]
#
# The tests start a Postgres and a Redis of their own, so both have to be installed, and python3 with venv for
# the test of the Python client. What is missing is installed where that is allowed: as root, with apt-get.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

missing=()

# need PACKAGE COMMAND...: notes the package if the command fails.
need() {
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}

# shellcheck disable=SC2317  # called by need
has_postgres() {
    local initdb
    for initdb in /usr/lib/postgresql/*/bin/initdb; do
        [[ -x $initdb ]] && return
    done
    command -v initdb
}

look() {
    missing=()
    need postgresql has_postgres
    need redis-server command -v redis-server
    need python3-venv python3 -c 'import ensurepip, venv'
}

look
if ((${#missing[@]})); then
    echo "missing: ${missing[*]}" >&2
    if [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
        apt-get update -q >&2
        DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}" >&2
        look
    fi
    if ((${#missing[@]})); then
        echo "the tests need these Debian packages, or what other systems call them: ${missing[*]}" >&2
        echo "install them, for example: sudo apt-get install ${missing[*]}" >&2
        exit 1
    fi
fi
if ! command -v cargo >/dev/null; then
    echo "the tests need Rust: install it with rustup, see https://rustup.rs" >&2
    exit 1
fi

# Most tests wait most of the time: for a lease to run out, or for a server to start again.
cores=$(nproc 2>/dev/null || echo 2)
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((cores < 6 ? 6 : cores))}

results=$(mktemp)
trap 'rm -f "$results"' EXIT

status=0
cargo test --workspace --no-fail-fast "$@" | tee "$results" || status=$?

# test result: ok. 17 passed; 0 failed; 0 ignored; …
read -r passed failed < <(awk '/^test result: / { passed += $4; failed += $6 } END { print passed + 0, failed + 0 }' "$results")

if ((status != 0 && failed == 0)); then
    echo "the tests did not build, or one of their programs died; this counts as one failure" >&2
    failed=1
elif ((passed + failed == 0)); then
    echo "no test ran" >&2
    status=1
fi
echo "$passed passed, $failed failed"
((failed == 0)) || status=1
exit "$status"
