"""The two ends of the path: the publisher, and the table."""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import boto3

from iot_verify.rows import Sent, Stored

PUBLISH_LIMIT_S = 120  # beside the time that the readings themselves take


class PublishError(RuntimeError):
    """The publisher could not send; the message is its own."""


@dataclass(frozen=True)
class Ends:
    """Where readings go in and where rows come out."""

    publisher: Path
    config: Path
    table: str
    schema: str
    thing: str

    def publish(self, count: int, rate: float) -> list[Sent]:
        """Publish readings of values that all differ; returns what was acknowledged. Raises PublishError."""
        with tempfile.TemporaryDirectory() as folder:
            ledger = Path(folder, "ledger")
            command = [str(self.publisher), "simulate", f"--config={self.config}", f"--count={count}"]
            command += [f"--rate={rate}", f"--ledger={ledger}"]
            try:
                done = subprocess.run(
                    command, capture_output=True, text=True, timeout=PUBLISH_LIMIT_S + count / rate, check=False
                )
            except subprocess.TimeoutExpired as error:
                raise PublishError(f"the publisher did not end in {error.timeout:.0f} s") from error
            if done.returncode:
                raise PublishError(done.stderr.strip() or done.stdout.strip())
            return [Sent.of(json.loads(line, parse_float=Decimal)) for line in ledger.read_text().splitlines()]

    def rows(self, since: str) -> list[Stored]:
        """Return the thing's rows from an instant on (ISO 8601)."""
        pages = boto3.client("dynamodb").get_paginator("query").paginate(
            TableName=self.table,
            ConsistentRead=True,
            KeyConditionExpression="deviceId = :device AND #time >= :since",
            ExpressionAttributeNames={"#time": "Time"},
            ExpressionAttributeValues={":device": {"S": self.thing}, ":since": {"S": since}},
        )
        return [Stored.of(item) for page in pages for item in page["Items"]]

    def newest(self, device: str) -> float | None:
        """Return when the newest row of a device is from, in seconds since 1970; None where it has none."""
        found = boto3.client("dynamodb").query(
            TableName=self.table,
            ConsistentRead=True,
            KeyConditionExpression="deviceId = :device",
            ExpressionAttributeValues={":device": {"S": device}},
            ScanIndexForward=False,
            Limit=1,
        )["Items"]
        return datetime.fromisoformat(found[0]["Time"]["S"].partition("#")[0]).timestamp() if found else None

    def since(self, sent: Sequence[Sent]) -> str:
        """Return the instant from which on rows of these readings can be.

        Receipt has another clock than publishing, so a minute's difference is allowed for.
        """
        first = min(reading.ts for reading in sent)
        if self.schema == "message_time":
            return first
        return (datetime.fromisoformat(first) - timedelta(minutes=1)).isoformat()
