import base64
import json


def handler(event, context):
    failures = []
    for record in event["Records"]:
        try:
            order = json.loads(base64.b64decode(record["kinesis"]["data"]))
            store(order["fruit"], int(order["count"]))
        except (KeyError, TypeError, ValueError) as error:
            print("not stored:", error)
            failures.append({"itemIdentifier": record["kinesis"]["sequenceNumber"]})
            break
    return {"batchItemFailures": failures}


def store(fruit, count):
    with open("stock.txt", "a") as stock:
        print(count, fruit, file=stock)
