"""An MQTT 5 connection to AWS IoT Core that publishes with QoS 1 and tells what became of each message.

The SDK keeps to AWS's 100 publishes a second, connects again by itself with back-off and jitter, and sends
unacknowledged messages again then. Its callbacks come from a thread of its own.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from awscrt import mqtt5
from awscrt.exceptions import AwsCrtError
from awsiot import mqtt5_client_builder

from iot_device.reasons import Refusal
from iot_device.settings import Settings, SettingsError

log = logging.getLogger(__name__)

PING_TIMEOUT_MS = 4000  # below the keep-alive, as the SDK demands
ACK_TIMEOUT_S = 30
RECONNECT_MS = (500, 60_000)
Done = Callable[[Refusal | None], None]


class NotConnectedError(ConnectionError):
    """There was no connection in time; the message says why."""


class Publisher:
    """Use as a context manager: it connects in the background, and on leaving disconnects at once.

    `limit` is how many messages may be on their way at the same time.
    """

    def __init__(self, settings: Settings, limit: int = 1000) -> None:
        self.settings = settings
        self._room = threading.BoundedSemaphore(limit)
        self._state = threading.Condition()
        self._pending = 0
        self._connected = False
        self._refusal: Refusal | None = None
        self._stopped = threading.Event()
        try:
            self._client = self._make_client(settings)
        except (AwsCrtError, RuntimeError) as error:  # the latter from the TLS context
            raise SettingsError(
                f"{settings.certificate}, {settings.key} and {settings.ca} do not make a TLS identity: {error}"
            ) from error

    def _make_client(self, settings: Settings) -> Any:
        return mqtt5_client_builder.mtls_from_path(
            cert_filepath=str(settings.certificate),
            pri_key_filepath=str(settings.key),
            ca_filepath=str(settings.ca),
            endpoint=settings.endpoint,
            port=settings.port,
            client_id=settings.thing,
            keep_alive_interval_sec=settings.keep_alive,
            ping_timeout_ms=PING_TIMEOUT_MS,
            ack_timeout_sec=ACK_TIMEOUT_S,
            min_reconnect_delay_ms=RECONNECT_MS[0],
            max_reconnect_delay_ms=RECONNECT_MS[1],
            retry_jitter_mode=mqtt5.ExponentialBackoffJitterMode.FULL,
            on_lifecycle_connection_success=self._on_connected,
            on_lifecycle_connection_failure=self._on_failure,
            on_lifecycle_disconnection=self._on_disconnected,
            on_lifecycle_stopped=lambda _: self._stopped.set(),
        )

    def __enter__(self) -> Self:
        self._client.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.stop(mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.NORMAL_DISCONNECTION))
        self._stopped.wait(5)

    def wait_connected(self, timeout: float) -> None:
        """Wait up to `timeout` seconds, less where that is in vain. Raises NotConnectedError with the reason."""
        began = time.monotonic()
        with self._state:
            self._state.wait_for(lambda: self._connected or self._in_vain(), timeout)
            if not self._connected:
                where = f"{self.settings.endpoint}:{self.settings.port} as {self.settings.thing}"
                waited = time.monotonic() - began
                raise NotConnectedError(f"no connection to {where} after {waited:.0f} s: {self._why()}")

    def publish(self, payload: bytes, done: Done, wait: bool = True) -> bool:
        """Hand a message over; `done` is called with None on the broker's acknowledgement, else with the reason.

        Returns False, and calls nothing, where `limit` messages are on their way and `wait` is False.
        """
        if not self._room.acquire(blocking=wait):
            return False
        with self._state:
            self._pending += 1
        packet = mqtt5.PublishPacket(
            topic=self.settings.topic,
            payload=payload,
            qos=mqtt5.QoS.AT_LEAST_ONCE,
            content_type="application/json",
        )
        future = self._client.publish(packet)
        future.add_done_callback(lambda completed: self._on_completed(completed, done))
        return True

    def drain(self, timeout: float) -> int:
        """Wait up to `timeout` seconds for what is on its way; returns how many remain without an answer."""
        with self._state:
            self._state.wait_for(lambda: self._pending == 0, timeout)
            return self._pending

    def _in_vain(self) -> bool:
        return self._refusal is not None and self._refusal.lasting

    def _why(self) -> str:
        return (
            str(self._refusal) if self._refusal else "no answer; is the host name right, and the port open?"
        )

    def _on_completed(self, completed: "Future[Any]", done: Done) -> None:
        refusal = _refusal_of(completed)
        if refusal:
            log.warning("message refused: %s", refusal)
        try:
            done(refusal)
        finally:
            with self._state:
                self._pending -= 1
                self._state.notify_all()
            self._room.release()

    def _on_connected(self, _: Any) -> None:
        log.info("connected to %s:%s as %s", self.settings.endpoint, self.settings.port, self.settings.thing)
        with self._state:
            self._connected, self._refusal = True, None
            self._state.notify_all()

    def _on_failure(self, data: Any) -> None:
        packet = data.connack_packet
        refusal = _by_code(packet) if packet else _by_error(data.exception)
        log.warning("no connection to %s:%s: %s", self.settings.endpoint, self.settings.port, refusal)
        with self._state:
            self._refusal = refusal
            self._state.notify_all()

    def _on_disconnected(self, data: Any) -> None:
        packet = data.disconnect_packet
        refusal = _by_code(packet) if packet else _by_error(data.exception)
        with self._state:
            self._connected, self._refusal = False, refusal
        log.log(logging.INFO if refusal.name == "AWS_ERROR_MQTT5_USER_REQUESTED_STOP" else logging.WARNING,
                "disconnected: %s", refusal)  # fmt: skip


def _by_code(packet: Any) -> Refusal:
    return Refusal(mqtt_name(packet.reason_code), packet.reason_string or "")


def _by_error(error: BaseException | None) -> Refusal:
    return Refusal(
        getattr(error, "name", type(error).__name__), getattr(error, "message", None) or str(error)
    )


def _refusal_of(completed: "Future[Any]") -> Refusal | None:
    error = completed.exception()
    if error is not None:
        return _by_error(error)
    puback = completed.result().puback
    # 0 is success, 16 is success without a subscriber: codes of 128 and more are refusals.
    if puback is None or puback.reason_code < 128:
        return None
    return _by_code(puback)


def mqtt_name(code: int) -> str:
    """Return the name of a reason code, or its number where the SDK knows none."""
    return str(getattr(code, "name", f"reason code {int(code)}"))
