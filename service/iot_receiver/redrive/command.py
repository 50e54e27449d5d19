"""The command `iot-receiver redrive`: opens what a run needs, works, and ends with the result as one line."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import uvloop
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from iot_receiver.background import in_background
from iot_receiver.credentials import Credentials
from iot_receiver.dynamodb import BatchWriter
from iot_receiver.environment import SettingsError
from iot_receiver.logs import configure, event, fault
from iot_receiver.messages import MessageParser
from iot_receiver.metrics import Metrics
from iot_receiver.queues import CALLS, Queue
from iot_receiver.redrive.reader import Reader
from iot_receiver.redrive.run import Kind, NotStoredError, Run
from iot_receiver.redrive.stored import AT_ONCE, Stored
from iot_receiver.redrive.tally import Tally
from iot_receiver.rows import RowWriter
from iot_receiver.settings import RedriveSettings
from iot_receiver.store import Store

STOP_SECONDS = 5.0  # for what is under way after SIGTERM

_RESULTS = {"run": "redrive_finished", "list": "redrive_listed", "drop": "redrive_dropped"}


def main(arguments: Sequence[str] = ()) -> int:
    """Run once: 0 when every dead letter was looked at, 1 when the run ended early, 2 when it can't start."""
    options = _parser().parse_args(arguments)
    try:
        settings = RedriveSettings.from_environment(os.environ)
    except SettingsError as error:
        sys.stderr.write(f"iot-receiver redrive can't start:\n{error}\n")
        return 2
    drops = None
    if options.action == "drop":
        if options.queue not in settings.queues:
            sys.stderr.write(f"iot-receiver redrive can't start:\nthe URL of queue {options.queue} is not set\n")
            return 2
        drops = Kind(options.reason, options.device)
        settings = replace(settings, queues={options.queue: settings.queues[options.queue]})
    configure("INFO")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_until_signalled(settings, options.action, drops))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("iot-receiver redrive", description="Take dead letters back, list or drop them.")
    actions = parser.add_subparsers(dest="action", metavar="list|drop")
    parser.set_defaults(action="run")
    actions.add_parser("list", help="change nothing; list what can't be stored, by reason and device")
    drop = actions.add_parser("drop", help="delete the dead letters of one kind")
    drop.add_argument("--queue", required=True, choices=["rule", "receiver"])
    drop.add_argument("--reason", required=True, help="exactly as listed")
    drop.add_argument("--device", help="of this device alone; '' for those without a known device")
    return parser


async def _until_signalled(settings: RedriveSettings, action: str, drops: Kind | None) -> int:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    work = asyncio.create_task(redrive(settings, get_session(), stopping, action, drops))
    signalled = asyncio.create_task(stopping.wait())
    await asyncio.wait({work, signalled}, return_when=asyncio.FIRST_COMPLETED)
    if signalled.done():
        await asyncio.wait({work}, timeout=STOP_SECONDS)
        while not work.done():
            work.cancel()
            await asyncio.wait({work}, timeout=0.2)  # aiobotocore takes a cancellation for a fault, and tries again
    return await work


async def redrive(
    settings: RedriveSettings,
    session: AioSession,
    stopping: asyncio.Event,
    action: str = "run",
    drops: Kind | None = None,
) -> int:
    """Work through each queue, and log the result as one event; returns the exit status."""
    tallies: dict[str, Tally] = {}
    problem = ""
    try:
        async with AsyncExitStack() as stack:
            await _redrive(settings, session, stopping, stack, tallies, stores=action != "list", drops=drops)
    except asyncio.CancelledError:  # AWS has not answered since SIGTERM
        if not stopping.is_set():
            raise
    except NotStoredError:
        causes = "the role's permission dynamodb:BatchWriteItem, the table's throttling and the network"
        problem = f"DynamoDB takes no rows: look at {causes}, then run again"
    except ClientError as error:
        problem = f"AWS refuses {_action(error)}: {error.response.get('Error', {}).get('Code', '')}"
        fault("redrive_failed", problem, error=error)
    except (BotoCoreError, OSError) as error:
        problem = f"AWS can't be asked: {type(error).__name__}"
        fault("redrive_failed", problem, error=error)
    if stopping.is_set() and not problem:
        problem = "stopped before the end; run again"
    queues = {name: tally.as_fields() for name, tally in tallies.items()}
    event(_RESULTS[action], problem or "every dead letter was looked at", problem=problem, queues=queues)
    return 1 if problem else 0


def _action(error: ClientError) -> str:
    """What IAM calls a call; SQS's batches need the single call's permission (Service Authorization Reference)."""
    called = str(error.operation_name)
    return f"dynamodb:{called}" if called in {"BatchGetItem", "Query"} else f"sqs:{called.removesuffix('Batch')}"


async def _redrive(
    settings: RedriveSettings,
    session: AioSession,
    stopping: asyncio.Event,
    stack: AsyncExitStack,
    tallies: dict[str, Tally],
    *,
    stores: bool,
    drops: Kind | None,
) -> None:
    credentials = Credentials(session)
    if not await credentials.refresh():
        raise NoCredentialsError
    await stack.enter_async_context(in_background(credentials.keep_fresh()))
    table = await stack.enter_async_context(_client(session, "dynamodb", settings.aws_region, AT_ONCE))
    queues = await stack.enter_async_context(_client(session, "sqs", settings.aws_region, CALLS * 2))
    writer = BatchWriter(
        table.meta.endpoint_url,
        settings.aws_region,
        settings.table_name,
        credentials,
        ca_bundle=session.get_config_variable("ca_bundle"),
    )
    store = Store(await stack.enter_async_context(writer), RowWriter(settings.measurements), Metrics())
    reader = Reader(MessageParser(settings))
    stored = Stored(table, settings.table_name)
    for name, url in settings.queues.items():
        run = Run(name, Queue(queues, url), reader, store, stored, stores=stores, drops=drops)
        tallies[name] = run.tally
        await run.run(stopping)


def _client(session: AioSession, service: str, region: str, connections: int) -> Any:
    retries = {"mode": "standard", "total_max_attempts": 5}
    config = AioConfig(connect_timeout=2, read_timeout=10, retries=retries, max_pool_connections=connections)
    return session.create_client(service, region_name=region, config=config)
