#!/bin/sh
# Uploads a batch as one object, which is named after its first record.
IFS= read -r first || exit 1
name=$(printf '%s\n' "$first" | jq -r '"\(.sequenceNumber)-\(.subSequenceNumber)"') || exit 1
{ printf '%s\n' "$first"; cat; } |
    aws s3 cp --only-show-errors - "s3://my-bucket/$KCLPIPE_SHARD_ID/$name.jsonl" || exit "$KCLPIPE_RETRY"
