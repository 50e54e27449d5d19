"""Settings from the environment, checked as a whole before anything is started."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from iot_receiver.environment import (
    REGION,
    TABLE_NAME,
    Reader,
    SettingsError,
    address,
    boolean,
    check_proxy,
    matching,
    one_of,
    seconds,
    whole,
)
from iot_receiver.measurements import DEFAULT, DEFAULT_TEXT, Measurements, declared
from iot_receiver.secrets import Secrets, SecretsError
from iot_receiver.times import AHEAD_SECONDS, BEHIND_SECONDS

TableSchema = Literal["message_time", "receipt_time"]
DeviceIdCheck = Literal["client_id", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """What decides how a message becomes a row, and where it is kept: the same whoever stores it.

    Attributes:
        aws_region: region of table, queues and IoT Core.
        table_name: DynamoDB table that takes the rows.
        table_schema: `message_time` (sort key from the message) or `receipt_time` (the arrival).
        rule_adds_metadata: the rule forwards payloads in an envelope with iot_* members of its own, so they are true.
        measurements: what readings hold, by member.
        device_id_check: `client_id` (deviceId must be the publisher's client id) or `off` (gateways).
        retention_days: days until a row's ttl; 0 keeps rows without end.
        clock_ahead, clock_behind: how far a message's own time may be off receipt before it is counted as wrong,
            in seconds.
    """

    aws_region: str
    table_name: str
    table_schema: TableSchema = "message_time"
    rule_adds_metadata: bool = True
    measurements: Measurements = field(default_factory=lambda: DEFAULT)
    device_id_check: DeviceIdCheck = "client_id"
    retention_days: int = 0
    clock_ahead: float = AHEAD_SECONDS
    clock_behind: float = BEHIND_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(StoreSettings):
    """What one receiver process needs to know.

    Attributes:
        aws_account_id: twelve digits; only this account's destinations are confirmed.
        secrets_dir: folder with one shared secret a file; any of them opens /ingest.
        dead_letter_queue_url: SQS queue for invalid elements of an array; None answers them with 422.
        rule_dead_letter_queue_url: SQS queue of the rule's error action; what waits there is only counted.
        metrics_public: show every metric to callers that came through the load balancer.
        host, port: where to listen.
        health_port: where paths are answered without a wait among messages, for health checks and scrapes.
        deregistration_delay: seconds to go on serving after SIGTERM, until no load balancer sends any more.
        keepalive: seconds an idle connection stays open; above the load balancer's idle timeout, because
            IoT Core does not retry a request whose connection was closed.
        log_level: DEBUG, INFO, WARNING or ERROR.
    """

    aws_account_id: str
    secrets_dir: Path
    dead_letter_queue_url: str | None = None
    rule_dead_letter_queue_url: str | None = None
    metrics_public: bool = False
    host: str = "0.0.0.0"  # noqa: S104 - a pod is reached on its own address
    port: int = 8080
    health_port: int | None = None
    deregistration_delay: float = 30.0
    keepalive: float = 75.0
    log_level: str = "INFO"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read and check the settings.

        Raises:
            SettingsError: naming every faulty variable with what is expected of it.
        """
        read = Reader(environment)
        settings = cls(
            **_store_settings(read),
            aws_account_id=read("RECEIVER_AWS_ACCOUNT_ID", matching(r"\d{12}", "twelve digits")),
            secrets_dir=read("RECEIVER_SECRETS_DIR", _folder),
            dead_letter_queue_url=read("RECEIVER_DEAD_LETTER_QUEUE_URL", _queue_url, "") or None,
            rule_dead_letter_queue_url=read("RECEIVER_RULE_DEAD_LETTER_QUEUE_URL", _queue_url, "") or None,
            metrics_public=read("RECEIVER_METRICS_PUBLIC", boolean, "false"),
            host=read("RECEIVER_HOST", address, "0.0.0.0"),  # noqa: S104
            port=read("RECEIVER_PORT", whole(1, 65_535), "8080"),
            health_port=read("RECEIVER_HEALTH_PORT", whole(0, 65_535), "0") or None,
            deregistration_delay=read("RECEIVER_DEREGISTRATION_DELAY_SECONDS", seconds(0, 3_600), "30"),
            keepalive=read("RECEIVER_KEEPALIVE_SECONDS", seconds(1, 4_000), "75"),
            log_level=read("RECEIVER_LOG_LEVEL", one_of("DEBUG", "INFO", "WARNING", "ERROR"), "INFO"),
        )
        if read.faults:
            raise SettingsError(read.faults)
        return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class RedriveSettings(StoreSettings):
    """What a redrive needs to know.

    Attributes:
        queues: URL of each queue with dead letters, by the name that the result gives it.
    """

    queues: dict[str, str]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "RedriveSettings":
        """Read and check the settings.

        Raises:
            SettingsError: naming every faulty variable with what is expected of it.
        """
        read = Reader(environment)
        given = {
            "rule": read("RECEIVER_RULE_DEAD_LETTER_QUEUE_URL", _queue_url, ""),
            "receiver": read("RECEIVER_DEAD_LETTER_QUEUE_URL", _queue_url, ""),
        }
        queues = {name: url for name, url in given.items() if url}
        if not queues and not read.faults:
            read.faults.append("neither RECEIVER_RULE_DEAD_LETTER_QUEUE_URL nor RECEIVER_DEAD_LETTER_QUEUE_URL is set")
        settings = cls(**_store_settings(read), queues=queues)
        if read.faults:
            raise SettingsError(read.faults)
        return settings


def _store_settings(read: Reader) -> dict[str, Any]:
    check_proxy(read)
    return {
        "aws_region": read("AWS_REGION", REGION),
        "table_name": read("RECEIVER_TABLE_NAME", TABLE_NAME),
        "table_schema": read("RECEIVER_TABLE_SCHEMA", one_of("message_time", "receipt_time"), "message_time"),
        "rule_adds_metadata": read("RECEIVER_RULE_ADDS_METADATA", boolean, "true"),
        "measurements": read("RECEIVER_MEASUREMENTS", declared, DEFAULT_TEXT),
        "device_id_check": read("RECEIVER_DEVICE_ID_CHECK", one_of("client_id", "off"), "client_id"),
        "retention_days": read("RECEIVER_RETENTION_DAYS", whole(0, 36_500), "0"),
        "clock_ahead": read("RECEIVER_CLOCK_AHEAD_SECONDS", seconds(1, 315_360_000), str(AHEAD_SECONDS)),
        "clock_behind": read("RECEIVER_CLOCK_BEHIND_SECONDS", seconds(1, 315_360_000), str(BEHIND_SECONDS)),
    }


def _folder(text: str) -> Path:
    path = Path(text)
    try:
        Secrets(path).load()
    except SecretsError as error:
        raise ValueError(f"a folder with one secret a file; {error}") from None
    return path


def _queue_url(text: str) -> str:
    if text and not re.fullmatch(r"https?://[^\s/]+/\S+", text):
        raise ValueError("the URL of an SQS queue")
    return text
