#!/bin/sh
# A handler. kclpipe starts it once for each record: the record is on stdin, its place in the stream is in the
# environment, and the exit code is the answer.

read -r fruit count || [ -n "$fruit" ]      # the record has no line end of its own, so read returns 1

case $count in
    '' | *[!0-9]*)
        echo "'$count' is not a number" >&2    # stderr goes to the log, and into a dead letter
        exit "$KCLPIPE_EXIT_REJECT"         # never again: --on-failure says what becomes of it
        ;;
esac

# Here the record would be stored; "|| exit $KCLPIPE_EXIT_RETRY" after a command means: not now, try it again later.
echo "$count $fruit, key $KCLPIPE_PARTITION_KEY, attempt $KCLPIPE_ATTEMPT" >&2
