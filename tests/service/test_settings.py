"""Settings are checked as a whole, and every fault is named."""

from pathlib import Path

import pytest
from iot_receiver.environment import SettingsError
from iot_receiver.settings import Settings

REQUIRED = {
    "AWS_REGION": "us-east-2",
    "RECEIVER_AWS_ACCOUNT_ID": "123456789012",
    "RECEIVER_TABLE_NAME": "telemetry",
}


def environment(folder: Path, **more: str) -> dict[str, str]:
    (folder / "current").write_text("secret")
    return {**REQUIRED, "RECEIVER_SECRETS_DIR": str(folder), **more}


def test_defaults(tmp_path: Path) -> None:
    settings = Settings.from_environment(environment(tmp_path))
    assert settings == Settings(
        aws_region="us-east-2",
        aws_account_id="123456789012",
        table_name="telemetry",
        secrets_dir=tmp_path,
        table_schema="message_time",
        rule_adds_metadata=True,
        device_id_check="client_id",
        dead_letter_queue_url=None,
        retention_days=0,
        metrics_public=False,
        host="0.0.0.0",  # noqa: S104 - a pod is reached on its own address
        port=8080,
        health_port=None,
        deregistration_delay=30.0,
        keepalive=75.0,
        log_level="INFO",
    )


def test_everything_set(tmp_path: Path) -> None:
    settings = Settings.from_environment(
        environment(
            tmp_path,
            RECEIVER_TABLE_SCHEMA="receipt_time",
            RECEIVER_RULE_ADDS_METADATA="False",
            RECEIVER_DEVICE_ID_CHECK="off",
            RECEIVER_DEAD_LETTER_QUEUE_URL="https://sqs.us-east-2.amazonaws.com/123456789012/letters",
            RECEIVER_RULE_DEAD_LETTER_QUEUE_URL="https://sqs.us-east-2.amazonaws.com/123456789012/rule-letters",
            RECEIVER_RETENTION_DAYS="7",
            RECEIVER_METRICS_PUBLIC="yes",
            RECEIVER_PORT="9090",
            RECEIVER_HEALTH_PORT="9091",
            RECEIVER_DEREGISTRATION_DELAY_SECONDS="0.5",
            RECEIVER_KEEPALIVE_SECONDS="120",
            RECEIVER_LOG_LEVEL="DEBUG",
        )
    )
    assert settings.table_schema == "receipt_time"
    assert settings.rule_adds_metadata is False
    assert (settings.dead_letter_queue_url or "").endswith("/letters")
    assert (settings.rule_dead_letter_queue_url or "").endswith("/rule-letters")
    assert settings.metrics_public is True
    assert settings.retention_days == 7
    assert (settings.port, settings.health_port) == (9090, 9091)
    assert (settings.deregistration_delay, settings.keepalive) == (0.5, 120)


def test_all_faults_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_environment(
            {
                "AWS_REGION": "middle-earth",
                "RECEIVER_TABLE_NAME": "x",
                "RECEIVER_SECRETS_DIR": str(tmp_path / "missing"),
                "RECEIVER_TABLE_SCHEMA": "lunar",
                "RECEIVER_RULE_ADDS_METADATA": "maybe",
                "RECEIVER_RETENTION_DAYS": "-1",
                "RECEIVER_HOST": "999.1.1.1",
                "RECEIVER_PORT": "http",
                "RECEIVER_KEEPALIVE_SECONDS": "0",
                "RECEIVER_DEAD_LETTER_QUEUE_URL": "letters",
                "RECEIVER_RULE_DEAD_LETTER_QUEUE_URL": "rule-letters",
            }
        )
    named = [fault.split()[0] for fault in raised.value.faults]
    assert named == [
        "AWS_REGION",
        "RECEIVER_TABLE_NAME",
        "RECEIVER_TABLE_SCHEMA",
        "RECEIVER_RULE_ADDS_METADATA",
        "RECEIVER_RETENTION_DAYS",
        "RECEIVER_AWS_ACCOUNT_ID",
        "RECEIVER_SECRETS_DIR",
        "RECEIVER_DEAD_LETTER_QUEUE_URL",
        "RECEIVER_RULE_DEAD_LETTER_QUEUE_URL",
        "RECEIVER_HOST",
        "RECEIVER_PORT",
        "RECEIVER_KEEPALIVE_SECONDS",
    ]
    assert "expected message_time or receipt_time" in str(raised.value)


@pytest.mark.parametrize("region", ["us-gov-west-1", "eusc-de-east-1", "us-isob-east-1", "ap-southeast-2"])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "127.0.0.1"])  # noqa: S104
def test_regions_and_addresses(tmp_path: Path, region: str, host: str) -> None:
    settings = Settings.from_environment(environment(tmp_path, AWS_REGION=region, RECEIVER_HOST=host))
    assert (settings.aws_region, settings.host) == (region, host)


def test_a_folder_without_a_secret_is_one_of_the_faults(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_environment({"RECEIVER_SECRETS_DIR": str(tmp_path)})
    assert "holds no secret" in str(raised.value)
    assert "AWS_REGION is not set" in str(raised.value)


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_a_proxy_that_can_not_be_used_is_refused(tmp_path: Path, name: str) -> None:
    for proxy in ("socks5://me:pass@proxy:1080", "https://proxy:3128", "proxy:3128"):
        with pytest.raises(SettingsError) as raised:
            Settings.from_environment(environment(tmp_path, **{name: proxy}))
        assert raised.value.faults == [
            f"{name} can't be used: expected http://host:port (a proxy that opens tunnels by CONNECT)"
        ]
    for proxy in ("http://proxy:3128", "http://me:pass@10.0.0.1:3128/"):
        Settings.from_environment(environment(tmp_path, **{name: proxy}))
