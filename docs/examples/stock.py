#!/usr/bin/env python3
# Stores orders in a database, each once however often it comes.
import json
import os
import sqlite3
import sys

GROUP = 500
token = os.environ["KCLPIPE_TOKEN"]
database = sqlite3.connect("stock.db")
database.execute(
    "CREATE TABLE IF NOT EXISTS orders"
    " (sequence TEXT, sub INTEGER, fruit TEXT, count INTEGER, PRIMARY KEY (sequence, sub))"
)
rows = []


def answer(word, n):
    print(token, word, n, flush=True)


def store(n):
    """Stores what was collected, and only then says that everything through n is done."""
    try:
        with database:
            database.executemany("INSERT OR IGNORE INTO orders VALUES (?, ?, ?, ?)", rows)
    except sqlite3.OperationalError as error:
        print(error, file=sys.stderr)
        sys.exit(int(os.environ["KCLPIPE_EXIT_RETRY"]))
    rows.clear()
    answer("upto", n)


for line in sys.stdin:
    if not line.endswith("\n"):
        break  # cut off: no record
    record = json.loads(line)
    try:
        order = json.loads(record["data"])
        row = (record["sequenceNumber"], record["subSequenceNumber"], order["fruit"], int(order["count"]))
    except (KeyError, TypeError, ValueError) as error:
        if rows:
            store(record["n"] - 1)
        print(repr(error), file=sys.stderr, flush=True)
        answer("reject", record["n"])
        continue
    rows.append(row)
    if record["last"] or len(rows) >= GROUP:
        store(record["n"])
