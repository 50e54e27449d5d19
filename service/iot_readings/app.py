"""The application: which parts there are, how they are opened and closed, and which path leads where."""

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from importlib.metadata import distribution
from pathlib import Path

from aiobotocore.session import AioSession, get_session
from aiohttp import web
from iot_receiver.background import in_background
from iot_receiver.credentials import Credentials
from iot_receiver.dynamodb import find_endpoint
from iot_receiver.lifecycle import Lifecycle
from iot_receiver.logs import fault
from iot_receiver.problems import Handler, problem

from iot_readings import api, keys, metrics, remote_read
from iot_readings.fleet import Fleet
from iot_readings.hops import Receiver
from iot_readings.parameters import ParameterError
from iot_readings.registry import Registry
from iot_readings.settings import Settings
from iot_readings.stream import Streams
from iot_readings.table import Table, Unavailable

SESSION = web.AppKey("session", AioSession)
HERE = Path(__file__).parent
# uPlot comes in a package that is locked by its hash. The page names the digest of uPlot's own release as well.
CHARTS = Path(str(distribution("youplot").locate_file("youplot/vendor")))
FILES = {
    "/": HERE / "page/index.html",
    "/page/page.css": HERE / "page/page.css",
    "/page/uplot.css": CHARTS / "uplot.min.css",
    "/page/uplot.js": CHARTS / "uplot.iife.min.js",
    **{f"/page/{path.name}": path for path in sorted((HERE / "page").glob("*.js"))},
    "/page/icon.svg": HERE / "page/icon.svg",
    "/openapi.json": HERE / "openapi.json",
}
# Nothing is run or loaded but what this server has as a file: a device's name can't become a script.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def init_app(settings: Settings) -> web.Application:
    """Make the application; it opens nothing before it is started."""
    session = get_session()
    app = web.Application(middlewares=[problems])
    app[SESSION] = session
    app[keys.SETTINGS] = settings
    app[keys.CREDENTIALS] = Credentials(session)
    app[keys.LIFECYCLE] = Lifecycle(app[keys.CREDENTIALS])
    app[keys.STREAMS] = Streams()
    app[keys.REGISTRY] = Registry(session, settings)
    app.cleanup_ctx.extend([fresh_credentials, table, fleet, receiver, started])
    app.on_response_prepare.append(_protect)
    app.router.add_routes(api.routes)
    app.router.add_get("/metrics", metrics.get)
    app.router.add_post("/api/v1/read", remote_read.post)
    app.router.add_get("/readyz", app[keys.LIFECYCLE].readyz)
    app.router.add_get("/livez", app[keys.LIFECYCLE].livez)
    for path, file in FILES.items():
        app.router.add_get(path, _file(file))
    return app


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong is answered as application/problem+json."""
    try:
        return await handler(request)
    except ParameterError as error:
        return problem(400, str(error))
    except Unavailable as error:
        return problem(503, str(error), headers={"Retry-After": "1"})
    except web.HTTPException as error:
        kept = {name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers}
        usual = error.text in {None, f"{error.status}: {error.reason}"}
        detail = "the API is described by /openapi.json" if usual else str(error.text)
        return problem(error.status, detail, headers=kept)
    except (ConnectionError, asyncio.CancelledError):
        raise
    except Exception as error:  # noqa: BLE001 - one request's trouble is logged and answered, not another's
        fault("handler_failed", "a request could not be handled", error=error)
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the request could not be handled")


async def fresh_credentials(app: web.Application) -> AsyncIterator[None]:
    """AWS credentials are there, and stay valid."""
    await app[keys.CREDENTIALS].refresh()
    async with in_background(app[keys.CREDENTIALS].keep_fresh()):
        yield


async def table(app: web.Application) -> AsyncIterator[None]:
    """The table can be read."""
    settings, session = app[keys.SETTINGS], app[SESSION]
    opened = Table(
        (await find_endpoint(session, settings.aws_region)).url,
        settings.aws_region,
        settings.table_name,
        app[keys.CREDENTIALS],
        ca_bundle=session.get_config_variable("ca_bundle"),
    )
    async with opened:
        app[keys.TABLE] = opened
        yield


async def fleet(app: web.Application) -> AsyncIterator[None]:
    """The fleet is followed: its names, its devices, and those that streams name."""
    settings, streams = app[keys.SETTINGS], app[keys.STREAMS]
    made = app[keys.FLEET] = Fleet(app[keys.TABLE], settings.measurements, settings.quiet_seconds, streams.publish)
    async with (
        in_background(app[keys.REGISTRY].follow(made.add, made.keep)),
        in_background(made.sweep(settings.sweep_rate)),
        in_background(made.follow(streams.named, settings.live_rate)),
        in_background(made.follow(lambda: made.names if streams.everything else (), settings.live_rate)),
    ):
        yield


async def receiver(app: web.Application) -> AsyncIterator[None]:
    """The receiver's metrics are asked for, if their address is set."""
    url = app[keys.SETTINGS].receiver_metrics_url
    if not url:
        yield
        return
    app[keys.RECEIVER] = Receiver()
    async with in_background(app[keys.RECEIVER].follow(url)):
        yield


async def started(app: web.Application) -> AsyncIterator[None]:
    """Everything above is open."""
    app[keys.LIFECYCLE].reached.set()  # without DynamoDB the page is served all the same, and says what is wrong
    app[keys.LIFECYCLE].started = True
    yield
    app[keys.LIFECYCLE].started = False


async def _protect(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


def _file(path: Path) -> Handler:
    async def get(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(path)

    return get
