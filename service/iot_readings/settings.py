"""Settings from the environment, checked as a whole before anything is started."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from iot_receiver.environment import REGION, TABLE_NAME, Reader, SettingsError, address, check_proxy, one_of, whole
from iot_receiver.measurements import DEFAULT_TEXT

from iot_readings.measurements import Measurement, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What one process needs to know.

    Attributes:
        aws_region: region of the table and of IoT's registry of things.
        table_name: DynamoDB table with the readings.
        measurements: what a reading holds, in the order in which it is shown.
        hidden_things: names of things that are no devices of the fleet, such as the one that checks deployments.
        deployment: things whose attribute Deployment names another are not listed; empty lists all.
        receiver_metrics_url: the receiver's /metrics, for the line of its health; empty leaves that out.
        sweep_rate: Queries a second, at most, that keep the state of devices that nobody looks at.
        live_rate: Queries a second, at most, that follow the devices somebody looks at.
        quiet_seconds: silence after which a device is quiet that has too few readings for an interval of its own.
        host, port: where to listen.
        log_level: DEBUG, INFO, WARNING or ERROR.
    """

    aws_region: str
    table_name: str
    measurements: tuple[Measurement, ...]
    hidden_things: frozenset[str] = frozenset()
    deployment: str = ""
    receiver_metrics_url: str = ""
    sweep_rate: int = 50
    live_rate: int = 100
    quiet_seconds: int = 900
    host: str = "127.0.0.1"
    port: int = 8080
    log_level: str = "INFO"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read and check the settings.

        Raises:
            SettingsError: naming every faulty variable with what is expected of it.
        """
        read = Reader(environment)
        check_proxy(read)
        settings = cls(
            aws_region=read("AWS_REGION", REGION),
            table_name=read("READINGS_TABLE_NAME", TABLE_NAME),
            measurements=read("READINGS_MEASUREMENTS", shown, DEFAULT_TEXT),
            hidden_things=read("READINGS_HIDDEN_THINGS", _names, ""),
            deployment=read("READINGS_DEPLOYMENT", str, ""),
            receiver_metrics_url=read("READINGS_RECEIVER_METRICS_URL", _url, ""),
            sweep_rate=read("READINGS_SWEEP_QUERIES_PER_SECOND", whole(1, 1_000), "50"),
            live_rate=read("READINGS_LIVE_QUERIES_PER_SECOND", whole(1, 1_000), "100"),
            quiet_seconds=read("READINGS_QUIET_SECONDS", whole(10, 31_536_000), "900"),
            host=read("READINGS_HOST", address, "127.0.0.1"),
            port=read("READINGS_PORT", whole(1, 65_535), "8080"),
            log_level=read("READINGS_LOG_LEVEL", one_of("DEBUG", "INFO", "WARNING", "ERROR"), "INFO"),
        )
        if read.faults:
            raise SettingsError(read.faults)
        return settings


def _names(text: str) -> frozenset[str]:
    return frozenset(filter(None, (name.strip() for name in text.split(","))))


def _url(text: str) -> str:
    if text and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", text):
        raise ValueError("an http address such as http://iot-receiver/metrics")
    return text
