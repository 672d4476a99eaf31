import base64
import json


def transform(event, context):
    """What many functions do: parse each record, work something out, and make text of it again."""
    rows = []
    for record in event["Records"]:
        order = json.loads(base64.b64decode(record["kinesis"]["data"]))
        items = order["order"]["items"]
        total = sum(item["count"] * item["price"] for item in items)
        rows.append(json.dumps({"id": order["id"], "at": order["at"], "total": total, "items": items}))
    return {"batchItemFailures": [], "bytes": sum(map(len, rows))}


def handler(event, context):
    """Next to nothing."""
    for record in event["Records"]:
        base64.b64decode(record["kinesis"]["data"])
    return {"batchItemFailures": []}
