"""The application: its parts, how they are opened and closed, and its paths."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from aiobotocore.session import AioSession, get_session
from aiohttp import hdrs, web

from iot_receiver import keys
from iot_receiver.background import in_background
from iot_receiver.confirmation import Confirmation
from iot_receiver.credentials import Credentials
from iot_receiver.dead_letters import DeadLetters
from iot_receiver.dynamodb import BatchWriter, find_endpoint
from iot_receiver.exposition import Exposition
from iot_receiver.ingest import Ingest
from iot_receiver.lifecycle import Lifecycle
from iot_receiver.messages import MessageParser
from iot_receiver.metrics import Metrics
from iot_receiver.problems import not_found, only
from iot_receiver.rows import RowWriter
from iot_receiver.secrets import Secrets
from iot_receiver.server import BANNER, expected
from iot_receiver.settings import Settings
from iot_receiver.store import Store

REACH_SECONDS = 1.0  # for DynamoDB's first answer, before the receiver listens without it
COLLECT_AFTER = 10_000  # objects: messages in flight are thousands, none of them garbage


def init_app(settings: Settings, new_session: Callable[[], AioSession] = get_session) -> web.Application:
    """Make the application; it opens nothing before it is started.

    Args:
        new_session: the source of AWS clients and credentials; by default the process's environment.

    Raises:
        SecretsError: when there is no secret to begin with.
    """
    session = new_session()
    credentials = Credentials(session, new_session)
    lifecycle = Lifecycle(credentials)
    secrets = Secrets(settings.secrets_dir)
    secrets.load()

    app = web.Application()  # no middleware: each would slow every message down
    app[keys.SESSION] = session
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
    exposition = Exposition(app[keys.METRICS], lifecycle, secrets, public=settings.metrics_public)
    for path in ("/ingest", "/ingest/"):  # IoT Core confirms at the URL, a slash, and the token
        app.router.add_post(path, ingest.post, expect_handler=expected)
        app.router.add_route("*", path, only("POST"), expect_handler=expected)
    for path, handler in (
        ("/metrics", exposition.get),
        ("/rejections", exposition.rejections),
        ("/readyz", lifecycle.readyz),
        ("/livez", lifecycle.livez),
    ):
        app.router.add_get(path, handler, expect_handler=expected)
        app.router.add_route("*", path, only("GET", "HEAD"), expect_handler=expected)
    app.router.add_route("*", "/{path:.*}", not_found, expect_handler=expected)
    app.on_response_prepare.append(_name_no_versions)
    return app


async def _name_no_versions(_: web.Request, response: web.StreamResponse) -> None:
    response.headers[hdrs.SERVER] = BANNER


def endpoint(new_session: Callable[[], AioSession]) -> Callable[[web.Application], AsyncIterator[None]]:
    """DynamoDB's endpoint, found by a session of its own, whose models are forgotten again."""

    async def found(app: web.Application) -> AsyncIterator[None]:
        app[keys.ENDPOINT] = await find_endpoint(new_session(), app[keys.SETTINGS].aws_region)
        gc.collect()  # all that the session has read: 10 MiB
        yield

    return found


async def watched_secrets(app: web.Application) -> AsyncIterator[None]:
    """Secrets that follow their folder."""
    async with in_background(app[keys.SECRETS].watch()):
        yield


async def fresh_credentials(app: web.Application) -> AsyncIterator[None]:
    """AWS credentials, kept valid."""
    async with in_background(app[keys.CREDENTIALS].keep_fresh()):
        yield


async def store(app: web.Application) -> AsyncIterator[None]:
    """The way to the table; at the end, accepted rows are settled first."""
    settings, lifecycle = app[keys.SETTINGS], app[keys.LIFECYCLE]
    writer = BatchWriter(
        app[keys.ENDPOINT].url,
        settings.aws_region,
        settings.table_name,
        app[keys.CREDENTIALS],
        ca_bundle=app[keys.SESSION].get_config_variable("ca_bundle"),
    )

    async def reach() -> None:
        await writer.reach()
        lifecycle.reached.set()

    async with writer, in_background(reach()):
        app[keys.STORE] = Store(writer, RowWriter(settings.measurements), app[keys.METRICS])
        yield
        await app[keys.STORE].drain()


async def dead_letters(app: web.Application) -> AsyncIterator[None]:
    """The dead-letter queue, and the count of what waits on it."""
    settings = app[keys.SETTINGS]
    queues = settings.dead_letter_queue_url, settings.rule_dead_letter_queue_url
    async with (
        DeadLetters(app[keys.SESSION], settings.aws_region, *queues) as queue,
        in_background(queue.watch(app[keys.METRICS])),
    ):
        app[keys.DEAD_LETTERS] = queue
        yield


async def confirmation(app: web.Application) -> AsyncIterator[None]:
    """Confirmations of destinations."""
    async with Confirmation(
        app[keys.SESSION], app[keys.SETTINGS], app[keys.ENDPOINT].partition, app[keys.METRICS]
    ) as confirms:
        app[keys.CONFIRMATION] = confirms
        yield


async def started(app: web.Application) -> AsyncIterator[None]:
    """Readiness: everything above is open, and only credentials and DynamoDB may be missing yet."""
    with suppress(TimeoutError):
        await asyncio.wait_for(app[keys.LIFECYCLE].reached.wait(), REACH_SECONDS)
    gc.collect()
    gc.freeze()  # what stays for good need not be collected again and again
    gc.set_threshold(COLLECT_AFTER)
    app[keys.LIFECYCLE].started = True
    yield
    app[keys.LIFECYCLE].started = False
