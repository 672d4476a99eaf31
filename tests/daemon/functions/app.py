import base64
import os
import time


def handler(event, context):
    large = 0
    for record in event["Records"]:
        text = base64.b64decode(record["kinesis"]["data"]).decode()
        word = text.split(" ")[0]
        if word == "partial":
            failed = record["kinesis"]["sequenceNumber"]
            return {"batchItemFailures": [{"itemIdentifier": failed}]}
        if word == "raise":
            raise ValueError("it cannot be handled")
        if word == "exit":
            os._exit(0)
        if word == "hang":
            time.sleep(1000)
        if word == "large":
            large = int(text.split(" ")[1])
        done(text)
    return {"batchItemFailures": [], "large": "x" * large}


def done(text):
    with open(os.environ["JOURNAL"], "a") as journal:
        journal.write(f"{os.getpid()} {text}\n")


def nothing(event, context):
    return {"batchItemFailures": []}
