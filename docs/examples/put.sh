#!/bin/sh
# Sends each record to a server, under a name that is the same when the record comes again.
url=https://example.com/orders/$KCLPIPE_ID
case $(curl -s --max-time 30 -o /dev/null -w '%{http_code}' -X PUT --data-binary @- "$url") in
    2??) ;;                                               # done
    400 | 413 | 422) exit "$KCLPIPE_EXIT_REJECT" ;;       # this record can never be taken
    408 | 429 | 5?? | 000) exit "$KCLPIPE_EXIT_RETRY" ;;  # not now; 000 is no answer
    *) exit 1 ;;                                          # a failure, which --max-attempts counts
esac
