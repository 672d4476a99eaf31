import os
import time

from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)

from app import done

processor = BatchProcessor(event_type=EventType.KinesisDataStreams)


def one(record):
    text = record.kinesis.data_as_text()
    word = text.split(" ")[0]
    if word in ("partial", "raise"):
        raise ValueError("it cannot be handled")
    if word == "exit":
        os._exit(0)
    if word == "hang":
        time.sleep(1000)
    done(text)


def handler(event, context):
    return process_partial_response(event, one, processor, context)
