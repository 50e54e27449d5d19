"""iot-sandbox-rules-engine: runs the rules of the IoT API for what devices publish to the broker."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web

from iot_sandbox.rules.actions.sender import Sender
from iot_sandbox.rules.aws import Aws
from iot_sandbox.rules.consumer import Consumer
from iot_sandbox.rules.engine import Engine
from iot_sandbox.rules.health import application
from iot_sandbox.rules.metrics import Metrics
from iot_sandbox.rules.rule import Services
from iot_sandbox.rules.secrets import CACHE_SECONDS, Secrets


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="iot-sandbox-rules-engine", description=__doc__)
    parser.add_argument("--broker-socket", type=Path, required=True, help="the broker's local socket")
    parser.add_argument("--account", required=True, help="AWS account id")
    parser.add_argument("--region", required=True, help="AWS region")
    parser.add_argument("--ca-bundle", type=Path, help="CAs that may have signed an endpoint's certificate")
    parser.add_argument("--host", default="127.0.0.1", help="address of /healthz and /metrics")
    parser.add_argument("--port", type=int, default=4567, help="port of /healthz and /metrics")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between two looks for changes")
    parser.add_argument(
        "--secret-cache-seconds",
        type=float,
        default=CACHE_SECONDS,
        help="how long get_secret() keeps a value",
    )
    return parser.parse_args()


async def serve(options: argparse.Namespace, stopping: asyncio.Event) -> None:
    """Runs until ``stopping`` is set, then finishes and acknowledges the messages in progress."""
    metrics = Metrics()
    aws = Aws(options.region)
    async with AsyncExitStack() as stack:
        sender = await stack.enter_async_context(Sender(options.ca_bundle))
        secrets = Secrets(aws, options.secret_cache_seconds)
        consumer = Consumer(options.broker_socket)
        services = Services(
            account_id=options.account,
            aws=aws,
            secrets=secrets,
            sender=sender,
            publish=consumer.publish,
            metrics=metrics,
        )
        engine = Engine(services)
        runner = web.AppRunner(application(engine, consumer, metrics), access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, options.host, options.port).start()

        following = asyncio.create_task(engine.follow(options.interval))
        consuming = asyncio.create_task(_consume(engine, consumer))
        await asyncio.wait(
            [following, consuming, asyncio.create_task(stopping.wait())], return_when=asyncio.FIRST_COMPLETED
        )
        for task in (consuming, following):
            task.cancel()
        results = await asyncio.gather(consuming, following, return_exceptions=True)
        await engine.close()
        for result in results:
            if isinstance(result, Exception):
                raise result


async def _consume(engine: Engine, consumer: Consumer) -> None:
    """Takes no message before the rules are loaded: it would be acknowledged without running any."""
    await engine.loaded.wait()
    await consumer.run(engine.process)


def main() -> None:
    """AWS_ENDPOINT_URL and credentials come from the environment."""
    options = arguments()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    asyncio.run(_main(options))


async def _main(options: argparse.Namespace) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await serve(options, stopping)


if __name__ == "__main__":
    main()
