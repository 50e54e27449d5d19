"""iot-sandbox-broker: keeps the broker's policy table in step with the IoT API."""

from __future__ import annotations

import argparse
import logging
import signal
import threading
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from iot_sandbox.broker.registry import Registry
from iot_sandbox.broker.table import render, write
from iot_sandbox.shared.changes import Changes

log = logging.getLogger("iot_sandbox.broker")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="iot-sandbox-broker", description=__doc__)
    parser.add_argument("--table", type=Path, required=True, help="file that the broker's plugin reads")
    parser.add_argument("--account", required=True, help="AWS account id in the ARNs of policies")
    parser.add_argument("--region", required=True, help="AWS region in the ARNs of policies")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between two looks for changes")
    parser.add_argument("--once", action="store_true", help="write the table once and end")
    return parser.parse_args()


def main() -> None:
    """AWS_ENDPOINT_URL and credentials come from the environment."""
    options = arguments()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())

    config = Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1})
    registry = Registry(boto3.client("iot", region_name=options.region, config=config))
    prefix = f"arn:{_partition(options.region)}:iot:{options.region}:{options.account}:"
    reachable, changes, rounds = True, Changes(), 0
    while not stopping.is_set():
        if changes.due():
            rounds = registry.rounds
        elif not rounds:
            stopping.wait(options.interval)
            continue
        try:
            certificates = registry.read()
        except (BotoCoreError, ClientError) as error:
            if options.once:
                raise SystemExit(f"The IoT API does not answer: {error}. See AWS_ENDPOINT_URL.") from error
            if reachable:
                log.warning("The IoT API does not answer, the table stays unchanged: %s", error)
            reachable = False
        else:
            reachable, rounds = True, rounds - 1
            changes.was_read()
            if write(options.table, render(certificates, prefix)):
                log.info("Wrote the policy table: %d active certificates", len(certificates))
        if options.once:
            return
        stopping.wait(options.interval)


def _partition(region: str) -> str:
    return boto3.Session().get_partition_for_region(region)


if __name__ == "__main__":
    main()
