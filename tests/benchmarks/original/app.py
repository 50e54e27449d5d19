"""The stack that this project started from, as a yardstick: FastAPI, uvicorn and boto3's put_item.

One put_item a message, in the thread pool that FastAPI gives to plain functions; metrics by
prometheus_client; uvicorn with its access log, as `uvicorn app:app` runs it.
"""

import os
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

import boto3
from fastapi import Body, FastAPI, Header, HTTPException, Response
from prometheus_client import Counter, generate_latest
from pydantic import BaseModel

app = FastAPI()
table = boto3.resource("dynamodb").Table(os.environ["RECEIVER_TABLE_NAME"])
received = Counter("iot_messages_received_total", "Messages received")


class Reading(BaseModel):
    """A message."""

    deviceId: str  # noqa: N815 - the message's own member
    temp: float
    ts: str | None = None


@app.post("/ingest")
def ingest(
    readings: Annotated[Reading | list[Reading], Body()],
    x_iot_secret: Annotated[str | None, Header()] = None,
) -> dict[str, str]:
    """Store one message, or each of an array."""
    if x_iot_secret != os.environ["IOT_SECRET"]:
        raise HTTPException(status_code=401)
    for reading in readings if isinstance(readings, list) else [readings]:
        table.put_item(
            Item={
                "deviceId": reading.deviceId,
                "Time": datetime.now(UTC).isoformat(),
                "temperature": Decimal(str(reading.temp)),
            }
        )
        received.inc()
    return {"status": "ok"}


@app.get("/metrics")
def metrics() -> Response:
    """Prometheus' text."""
    return Response(generate_latest(), media_type="text/plain")
