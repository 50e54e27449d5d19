"""iot-sandbox-load-balancer: HAProxy carries what the emulated load balancers should."""

from __future__ import annotations

import argparse
import logging
import signal
import threading
from pathlib import Path

import boto3
from botocore.config import Config

from .follow import Follower
from .haproxy import HAProxy
from .render import Places
from .source import Source


def main() -> None:
    """Run until SIGTERM or SIGINT. AWS_ENDPOINT_URL and credentials come from the environment."""
    parser = argparse.ArgumentParser(prog="iot-sandbox-load-balancer", description=__doc__)
    parser.add_argument("--address", required=True, help="address that every load balancer has here")
    parser.add_argument(
        "--folder", required=True, type=Path, help="folder of HAProxy's configuration and sockets"
    )
    parser.add_argument(
        "--certificates", required=True, type=Path, help="folder of <certificate id>.pem files"
    )
    parser.add_argument("--hosts", default=Path("/etc/hosts"), type=Path, help="file that gets the names")
    parser.add_argument("--haproxy", default="haproxy", help="HAProxy's program")
    parser.add_argument("--every", default=1.0, type=float, help="seconds between two looks for changes")
    arguments = parser.parse_args()

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    config = Config(connect_timeout=3, read_timeout=15, retries={"total_max_attempts": 1})
    follower = Follower(
        source=Source(boto3.client("elbv2", config=config), boto3.client("route53", config=config)),
        haproxy=HAProxy(arguments.folder, arguments.haproxy),
        places=Places(arguments.address, arguments.certificates, arguments.folder),
        hosts_file=arguments.hosts,
    )
    follower.run(stop, arguments.every)


if __name__ == "__main__":
    main()
