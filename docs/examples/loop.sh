#!/bin/sh
# Stores fruit. my-store stands for a command of yours.
while read -r fruit count; do
    case $count in
        '' | *[!0-9]*)
            echo "$KCLPIPE_TOKEN reject" ;;
        *)
            # The records are the input of a command in the loop, too, unless it is given another.
            if my-store "$fruit" "$count" </dev/null; then
                echo "$KCLPIPE_TOKEN ok"
            else
                echo "$KCLPIPE_TOKEN retry"
            fi ;;
    esac
done
