"""Messages to the domain at a steady rate, with their answers, to compare with what was stored."""

import http.client
import itertools
import json
import ssl
import threading
import time
import uuid
from collections import Counter
from types import TracebackType
from typing import Any

from tests.deployment.conftest import DOMAIN, TABLE
from tests.support.paths import STATE


class Load:
    """Clients that keep their connections, as AWS does, until the `with` block ends.

    :param secret: what the receiver wants in X-Iot-Secret.
    :param rate: messages a second, all clients together.
    """

    def __init__(self, secret: str, rate: int = 100, clients: int = 8) -> None:
        self.device = f"load-{uuid.uuid4().hex[:8]}"
        self.answers: Counter[str] = Counter()
        self.stored: set[str] = set()
        self._secret, self._rate, self._clients = secret, rate, clients
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._threads = [threading.Thread(target=self._client, args=(n,)) for n in range(clients)]
        self._tls = ssl.create_default_context(cafile=str(STATE / "ca" / "ca.crt"))

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, _type: type[BaseException] | None, _value: BaseException | None,
                 _traceback: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def rows(self, dynamodb: Any) -> set[str]:
        """The message ids of this load's rows."""
        pages = dynamodb.get_paginator("query").paginate(
            TableName=TABLE, KeyConditionExpression="deviceId = :d", ProjectionExpression="#t",
            ExpressionAttributeNames={"#t": "Time"}, ExpressionAttributeValues={":d": {"S": self.device}})
        return {item["Time"]["S"].partition("#")[2] for page in pages for item in page["Items"]}

    def _client(self, number: int) -> None:
        connection = http.client.HTTPSConnection(DOMAIN, timeout=10, context=self._tls)
        due = time.monotonic() + number / self._rate
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due += self._clients / self._rate
            identity = f"{next(self._numbers)}"
            try:
                answer = self._send(connection, identity)
            except (OSError, http.client.HTTPException) as error:
                answer = type(error).__name__
                connection.close()
            with self._lock:
                self.answers[answer] += 1
                if answer == "200":
                    self.stored.add(identity)
        connection.close()

    def _send(self, connection: http.client.HTTPSConnection, identity: str) -> str:
        now = int(time.time() * 1000)
        message = {"deviceId": self.device, "temp": 20, "ts": now, "messageId": identity, "iot_received_at": now,
                   "iot_trace_id": identity, "iot_client_id": self.device}
        connection.request("POST", "/ingest", json.dumps(message),
                           {"Content-Type": "application/json", "X-Iot-Secret": self._secret})
        response = connection.getresponse()
        response.read()
        return str(response.status)
