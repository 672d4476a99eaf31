#!/bin/sh
# Uploads a batch as one object, which is named after its first record.
batch=$(mktemp) || exit "$KCLPIPE_EXIT_RETRY"
trap 'rm -f "$batch"' EXIT
trap 'exit 1' TERM INT HUP
cat >"$batch" || exit "$KCLPIPE_EXIT_RETRY"
[ "$(wc -l <"$batch")" -eq "$KCLPIPE_BATCH_COUNT" ] || exit 1       # cut off
name=$(head -n 1 "$batch" | jq -r '"\(.sequenceNumber)-\(.subSequenceNumber)"') || exit 1
aws s3 cp --only-show-errors "$batch" "s3://my-bucket/$KCLPIPE_SHARD_ID/$name.jsonl" || exit "$KCLPIPE_EXIT_RETRY"
