"""The application: which parts there are, how they are opened and closed, and which path leads where."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any, NamedTuple

from aiobotocore.session import AioSession, get_session
from aiohttp import web

from iot_receiver import keys
from iot_receiver.confirmation import Confirmation
from iot_receiver.credentials import Credentials
from iot_receiver.dead_letters import DeadLetters
from iot_receiver.dynamodb import BatchWriter
from iot_receiver.ingest import Ingest
from iot_receiver.lifecycle import Lifecycle
from iot_receiver.messages import MessageParser
from iot_receiver.metrics import Exposition, Metrics
from iot_receiver.problems import not_found, only
from iot_receiver.secrets import Secrets
from iot_receiver.server import expected
from iot_receiver.settings import Settings
from iot_receiver.store import Store


class Endpoint(NamedTuple):
    """Where DynamoDB is: its URL, and the partition of AWS, such as "aws" or "aws-cn"."""

    url: str
    partition: str


SESSION = web.AppKey("session", AioSession)
ENDPOINT = web.AppKey("endpoint", Endpoint)
COLLECT_AFTER = 10_000  # objects: messages under way are thousands, none of them garbage


def init_app(settings: Settings, new_session: Callable[[], AioSession] = get_session) -> web.Application:
    """Make the application; it opens nothing before it is started.

    Args:
        new_session: where AWS's clients and credentials come from; by default the process's environment.

    Raises:
        SecretsError: when there is no secret to begin with.
    """
    session = new_session()
    credentials = Credentials(session)
    lifecycle = Lifecycle(credentials)
    secrets = Secrets(settings.secrets_dir)
    secrets.load()

    app = web.Application()  # no middleware: each would cost every message
    app[SESSION] = session
    app[keys.SETTINGS] = settings
    app[keys.METRICS] = Metrics()
    app[keys.CREDENTIALS] = credentials
    app[keys.LIFECYCLE] = lifecycle
    app[keys.SECRETS] = secrets
    app[keys.PARSER] = MessageParser(settings)
    app.cleanup_ctx.extend(
        [endpoint(new_session), watched_secrets, fresh_credentials, store, dead_letters, confirmation, started]
    )

    ingest = Ingest(app)
    exposition = Exposition(app[keys.METRICS], public=settings.metrics_public)
    for path in ("/ingest", "/ingest/"):  # IoT Core confirms at the URL, a slash, and the token
        app.router.add_post(path, ingest.post, expect_handler=expected)
        app.router.add_route("*", path, only("POST"), expect_handler=expected)
    for path, handler in (
        ("/metrics", exposition.get),
        ("/readyz", lifecycle.readyz),
        ("/livez", lifecycle.livez),
    ):
        app.router.add_get(path, handler, expect_handler=expected)
        app.router.add_route("*", path, only("GET", "HEAD"), expect_handler=expected)
    app.router.add_route("*", "/{path:.*}", not_found, expect_handler=expected)
    return app


def endpoint(new_session: Callable[[], AioSession]) -> Callable[[web.Application], AsyncIterator[None]]:
    """AWS says where DynamoDB is."""

    async def known(app: web.Application) -> AsyncIterator[None]:
        app[ENDPOINT] = await _endpoint(new_session(), app[keys.SETTINGS].aws_region)
        gc.collect()  # all that the session has read: 10 MiB
        yield

    return known


async def _endpoint(session: AioSession, region: str) -> Endpoint:
    """Ask a client: only one that has read all of DynamoDB's model knows."""
    async with session.create_client("dynamodb", region_name=region) as client:
        return Endpoint(client.meta.endpoint_url, client.meta.partition)


async def watched_secrets(app: web.Application) -> AsyncIterator[None]:
    """The secrets follow their folder."""
    async for _ in _in_background(app[keys.SECRETS].watch()):
        yield


async def fresh_credentials(app: web.Application) -> AsyncIterator[None]:
    """AWS credentials are there, and stay valid."""
    async for _ in _in_background(app[keys.CREDENTIALS].keep_fresh()):
        yield


async def store(app: web.Application) -> AsyncIterator[None]:
    """Rows can be stored; at the end, those accepted are settled first."""
    settings = app[keys.SETTINGS]
    writer = BatchWriter(
        app[ENDPOINT].url,
        settings.aws_region,
        settings.table_name,
        app[keys.CREDENTIALS],
        ca_bundle=app[SESSION].get_config_variable("ca_bundle"),
    )
    async with writer:
        app[keys.STORE] = Store(writer, app[keys.METRICS])
        yield
        await app[keys.STORE].drain()


async def dead_letters(app: web.Application) -> AsyncIterator[None]:
    """Invalid elements have a place to go to, and what waits there is counted."""
    settings = app[keys.SETTINGS]
    queues = settings.dead_letter_queue_url, settings.rule_dead_letter_queue_url
    async with DeadLetters(app[SESSION], settings.aws_region, *queues) as letters:
        app[keys.DEAD_LETTERS] = letters
        async for _ in _in_background(letters.watch(app[keys.METRICS])):
            yield


async def confirmation(app: web.Application) -> AsyncIterator[None]:
    """Destinations can be confirmed."""
    async with Confirmation(app[SESSION], app[keys.SETTINGS], app[ENDPOINT].partition, app[keys.METRICS]) as confirms:
        app[keys.CONFIRMATION] = confirms
        yield


async def started(app: web.Application) -> AsyncIterator[None]:
    """Everything above is open: ready, as soon as there are credentials."""
    gc.collect()
    gc.freeze()  # what stays for good is not looked through again and again
    gc.set_threshold(COLLECT_AFTER)
    app[keys.LIFECYCLE].started = True
    yield
    app[keys.LIFECYCLE].started = False


async def _in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
