# shellcheck shell=bash
# Sourced by the tests that build what is committed, from within the repository. Sets:
#
#   target     the repository's target folder, which all of them build into, one at a time
#   checkout   what is committed
#   folder     a new folder; it goes at the end
#
# Cargo compiles again what has another path, or a file that is younger than what was built from it. So the folder
# is at the same path each time, and a file of the checkout is as old as its content: copied with `cp -a` into
# $folder/eventflow, the program is compiled once for all of these tests.

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
mkdir -p "$target"
exec 9>"$target/committed.lock"
flock 9

checkout=$target/committed
# Git writes only the files that differ.
bring_up_to_date() {
    git -C "$checkout" fetch --quiet "$PWD" HEAD &&
        git -C "$checkout" reset --quiet --hard FETCH_HEAD &&
        git -C "$checkout" clean --quiet -ffdx
}
if ! { [[ -d $checkout/.git ]] && bring_up_to_date; }; then
    rm -rf "$checkout"
    git clone --quiet "$PWD" "$checkout"
fi

folder=${TMPDIR:-/tmp}/eventflow-committed.$UID.$(cksum <<<"$PWD" | cut -d' ' -f1)
trap 'rm -rf "$folder"' EXIT
rm -rf "$folder"
mkdir -m 700 "$folder"

# Not the units of the repository itself, whose files may differ.
export CARGO_INCREMENTAL=0
