#!/bin/sh
# mawk reads its input in blocks without this option; no other awk has the option.
case $(awk -W version 2>&1 </dev/null) in
    mawk*) set -- -W interactive ;;
esac
exec awk "$@" '
    BEGIN { token = ENVIRON["KCLPIPE_TOKEN"] }
    !/"}$/ { exit }                     # cut off: no record
    !match($0, /"data":"[a-z]+ [0-9]+"}$/) { print token, "reject", NR; fflush(); next }
    {
        split(substr($0, RSTART + 8, RLENGTH - 10), order, " ")
        print order[2], order[1] >> "stock.txt"
        fflush("stock.txt")             # first the work,
        print token, "ok", NR
        fflush()                        # then the answer
    }
'
