# Runs a program until it ends or until our standard input closes, whichever is first.
#
# usage: sh -c "$(cat guard.sh)" guard SIGNAL LOG PROGRAM [ARGUMENT...]
#
# Prints the program's process id, and ends with its exit code (128 + n after signal n). The standard input
# is a pipe from the test binary, which the system closes even when the binary is killed.
signal=$1
log=$2
shift 2

exec 3<&0
"$@" </dev/null >>"$log" 2>&1 3<&- &
program=$!
echo "$program"
# When the test binary dies, our process group is orphaned; if the program is paused just then, the system sends
# a hangup to the whole group, which must not end us before we have ended the program.
trap '' HUP
# The shell itself would report each signal that ends the program.
exec 2>/dev/null

(
    cat <&3 >/dev/null
    kill -s "$signal" "$program"
) >/dev/null &
watcher=$!

wait "$program"
code=$?
kill "$watcher"
exit "$code"
