"""An MQTT 5 connection to AWS IoT Core that publishes with QoS 1 and reports each message's outcome.

The SDK reconnects by itself, with back-off and full jitter. A message that is in flight when the connection breaks is
returned as refused: delivery.py decides what is sent again, and when. Callbacks come from a thread of the SDK.
"""

import functools
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from awscrt import io, mqtt5
from awscrt.exceptions import AwsCrtError
from awsiot import mqtt5_client_builder

from iot_device.reasons import Refusal
from iot_device.settings import AS_OWNER, Settings, SettingsError

log = logging.getLogger(__name__)

PING_TIMEOUT_MS = 4000  # below the keep-alive, as the SDK demands
CONNACK_TIMEOUT_MS = 15_000
ACK_TIMEOUT_S = 30
RECONNECT_MIN_MS = 500
STEADY_MS = 10_000  # a connection that lasts this long resets the back-off
STOP_TIMEOUT_S = 5.0
GIVE_UP_S = 0.2  # to stop connecting: nobody waits for its end
CONNECT_TIMEOUT_S = 40.0  # the SDK takes up to 30 s to report a TLS mismatch
REPEAT_S = 300.0  # a fault that lasts is logged this often
Done = Callable[[Refusal | None], None]
OnChange = Callable[[bool, Refusal | None], None]
"""Called with whether there is a connection now, and if not, why."""


class NotConnectedError(ConnectionError):
    """No connection was made in time; the message says why."""


@functools.cache
def bootstrap() -> Any:
    """Return the event loop of all connections; its one thread carries thousands of messages a second."""
    group = io.EventLoopGroup(1)
    return io.ClientBootstrap(group, io.DefaultHostResolver(group))


class Connection:
    """As a context manager it connects in the background, and disconnects at the end."""

    def __init__(self, settings: Settings, on_change: OnChange | None = None) -> None:
        self.settings = settings
        self.connected = False
        self.since = time.time()
        """When the connection was made or lost, in seconds since 1970."""
        self.refusal: Refusal | None = None
        """Why there is no connection."""
        self.taken_over = 0.0
        """When another client last took this one's place, in seconds since 1970."""
        self._on_change = on_change or (lambda connected, refusal: None)
        self._state = threading.Condition()
        self._stopped = threading.Event()
        self._logged: tuple[str, float] = ("", 0.0)
        try:
            self._client = self._make_client(settings)
        except OSError as error:
            raise SettingsError(
                f"{error.filename} cannot be read: {error.strerror}: {AS_OWNER}."
            ) from error
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
            client_bootstrap=bootstrap(),
            keep_alive_interval_sec=settings.keep_alive,
            ping_timeout_ms=PING_TIMEOUT_MS,
            connack_timeout_ms=CONNACK_TIMEOUT_MS,
            ack_timeout_sec=ACK_TIMEOUT_S,
            min_reconnect_delay_ms=RECONNECT_MIN_MS,
            max_reconnect_delay_ms=max(RECONNECT_MIN_MS, int(settings.reconnect_max * 1000)),
            min_connected_time_to_reset_reconnect_delay_ms=STEADY_MS,
            retry_jitter_mode=mqtt5.ExponentialBackoffJitterMode.FULL,
            offline_queue_behavior=mqtt5.ClientOperationQueueBehaviorType.FAIL_ALL_ON_DISCONNECT,
            # the pace is kept by whoever publishes, who slows down when the broker asks for it
            extended_validation_and_flow_control_options=mqtt5.ExtendedValidationAndFlowControlOptions.NONE,
            on_lifecycle_connection_success=self._on_connected,
            on_lifecycle_connection_failure=self._on_failure,
            on_lifecycle_disconnection=self._on_disconnected,
            on_lifecycle_stopped=lambda _: self._stopped.set(),
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self.wait_stopped()

    def start(self) -> None:
        """Begin to connect."""
        self._client.start()

    def stop(self) -> None:
        """Begin to disconnect."""
        self._client.stop(mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.NORMAL_DISCONNECTION))

    def wait_stopped(self) -> None:
        """Wait for the end of the connection."""
        self._stopped.wait(STOP_TIMEOUT_S if self.connected else GIVE_UP_S)

    def wait_connected(self, timeout: float) -> None:
        """Wait up to `timeout` seconds, or until the refusal is final. Raises NotConnectedError with the reason."""
        began = time.monotonic()
        with self._state:
            self._state.wait_for(lambda: self.connected or self._is_final(), timeout)
            if not self.connected:
                where = f"{self.settings.endpoint}:{self.settings.port} as {self.settings.thing}"
                waited = time.monotonic() - began
                raise NotConnectedError(f"no connection to {where} after {waited:.0f} s: {self._why()}")

    def publish(self, payload: str, done: Done) -> None:
        """Send a message; `done` is called with None on the broker's acknowledgement, else with the reason.

        It is refused without a connection, and where the SDK finds it invalid.
        """
        packet = mqtt5.PublishPacket(
            topic=self.settings.topic,
            payload=payload,
            qos=mqtt5.QoS.AT_LEAST_ONCE,
            content_type="application/json",
        )
        try:
            future = self._client.publish(packet)
        except (AwsCrtError, RuntimeError) as error:
            done(Refusal("AWS_ERROR_MQTT5_PUBLISH_OPTIONS_VALIDATION", str(error), answered=True))
            return
        future.add_done_callback(lambda completed: done(_refusal_of(completed)))

    def _is_final(self) -> bool:
        return self.refusal is not None and self.refusal.lasting

    def _why(self) -> str:
        return str(self.refusal) if self.refusal else "no answer; is the host name right, and the port open?"

    def _change(self, connected: bool, refusal: Refusal | None) -> None:
        with self._state:
            if connected != self.connected or connected:
                self.since = time.time()
            self.connected, self.refusal = connected, refusal
            self._state.notify_all()
        self._on_change(connected, refusal)

    def _log(self, level: int, text: str) -> None:
        text_before, when = self._logged
        if text != text_before or time.monotonic() - when > REPEAT_S:
            self._logged = (text, time.monotonic())
            log.log(level, "%s", text)

    def _on_connected(self, _: Any) -> None:
        where = f"{self.settings.endpoint}:{self.settings.port}"
        self._logged = ("", 0.0)
        log.info("connected to %s as %s", where, self.settings.thing)
        self._change(True, None)

    def _on_failure(self, data: Any) -> None:
        packet = data.connack_packet
        refusal = _by_code(packet) if packet else _by_error(data.exception)
        level = logging.ERROR if refusal.lasting else logging.WARNING
        self._log(level, f"no connection to {self.settings.endpoint}:{self.settings.port}: {refusal}")
        self._change(False, refusal)

    def _on_disconnected(self, data: Any) -> None:
        packet = data.disconnect_packet
        refusal = _by_code(packet) if packet else _by_error(data.exception)
        if refusal.name == "SESSION_TAKEN_OVER":
            self.taken_over = time.time()
        requested = refusal.name == "AWS_ERROR_MQTT5_USER_REQUESTED_STOP"
        self._log(logging.INFO if requested else logging.WARNING, f"disconnected: {refusal}")
        self._change(False, refusal)


def _by_code(packet: Any) -> Refusal:
    return Refusal(mqtt_name(packet.reason_code), packet.reason_string or "", answered=True)


def _by_error(error: BaseException | None) -> Refusal:
    return Refusal(getattr(error, "name", type(error).__name__), getattr(error, "message", None) or str(error))


def _refusal_of(completed: "Future[Any]") -> Refusal | None:
    error = completed.exception()
    if error is not None:
        return _by_error(error)
    puback = completed.result().puback
    if puback is None or puback.reason_code is None:
        return Refusal("UNKNOWN_REASON_CODE", "a code that the SDK does not recognise", answered=True)
    # 0 is success, 16 is success without a subscriber: codes of 128 and more are refusals.
    return _by_code(puback) if puback.reason_code >= 128 else None


def mqtt_name(code: int) -> str:
    """Return the name of a reason code, or its number where the SDK has no name."""
    return str(getattr(code, "name", f"reason code {int(code)}"))
