"""One redrive of all queues: opens what it needs, works, and ends with a line that tells what became of the letters."""

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack, suppress
from typing import Any

import uvloop
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from iot_receiver.credentials import Credentials
from iot_receiver.dynamodb import BatchWriter
from iot_receiver.logs import configure, event, fault
from iot_receiver.messages import MessageParser
from iot_receiver.metrics import Metrics
from iot_receiver.redrive import NotStoredError, Redrive, Tally
from iot_receiver.redrive_letters import Letters
from iot_receiver.redrive_queue import CALLS, Queue
from iot_receiver.redrive_stored import AT_ONCE, Stored
from iot_receiver.settings import RedriveSettings, SettingsError
from iot_receiver.store import Store


def main() -> int:
    """Run once: 0 when every letter was looked at, 1 when the run ended early, 2 when it can't start."""
    try:
        settings = RedriveSettings.from_environment(os.environ)
    except SettingsError as error:
        sys.stderr.write(f"iot-receiver redrive can't start:\n{error}\n")
        return 2
    configure("INFO")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_until_signalled(settings))


async def _until_signalled(settings: RedriveSettings) -> int:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    return await redrive(settings, get_session(), stopping)


async def redrive(settings: RedriveSettings, session: AioSession, stopping: asyncio.Event) -> int:
    """Redrive each queue, and log the result as one event; returns the exit status."""
    tallies: dict[str, Tally] = {}
    problem = ""
    try:
        async with AsyncExitStack() as stack:
            await _redrive(settings, session, stopping, stack, tallies)
    except NotStoredError:
        problem = "DynamoDB takes no rows: look at the table's throttling and the network, then run again"
    except ClientError as error:
        problem = f"AWS refuses {error.operation_name}: {error.response.get('Error', {}).get('Code', '')}"
        fault("redrive_failed", problem, error=error)
    except (BotoCoreError, OSError) as error:
        problem = f"AWS can't be asked: {type(error).__name__}"
        fault("redrive_failed", problem, error=error)
    if stopping.is_set() and not problem:
        problem = "stopped before the end; run again"
    queues = {name: tally.as_fields() for name, tally in tallies.items()}
    event("redrive_finished", problem or "every letter was looked at", problem=problem, queues=queues)
    return 1 if problem else 0


async def _redrive(
    settings: RedriveSettings,
    session: AioSession,
    stopping: asyncio.Event,
    stack: AsyncExitStack,
    tallies: dict[str, Tally],
) -> None:
    credentials = Credentials(session)
    if not await credentials.refresh():
        raise NoCredentialsError
    stack.push_async_callback(_cancel, asyncio.create_task(credentials.keep_fresh()))
    table = await stack.enter_async_context(_client(session, "dynamodb", settings.aws_region, AT_ONCE))
    queues = await stack.enter_async_context(_client(session, "sqs", settings.aws_region, CALLS * 2))
    writer = BatchWriter(
        table.meta.endpoint_url,
        settings.aws_region,
        settings.table_name,
        credentials,
        ca_bundle=session.get_config_variable("ca_bundle"),
    )
    store = Store(await stack.enter_async_context(writer), Metrics())
    letters = Letters(MessageParser(settings), arrays_published=not settings.rule_adds_metadata)
    stored = Stored(table, settings.table_name)
    for name, url in settings.queues.items():
        run = Redrive(name, Queue(queues, url), letters, store, stored)
        tallies[name] = run.tally
        await run.run(stopping)


def _client(session: AioSession, service: str, region: str, connections: int) -> Any:
    retries = {"mode": "standard", "total_max_attempts": 5}
    config = AioConfig(connect_timeout=2, read_timeout=10, retries=retries, max_pool_connections=connections)
    return session.create_client(service, region_name=region, config=config)


async def _cancel(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
