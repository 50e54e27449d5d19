"""The receiver's process: from its settings to the last answer."""

import asyncio
import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from typing import cast

import uvloop
from aiohttp import web

from iot_receiver import keys
from iot_receiver.app import init_app
from iot_receiver.environment import SettingsError
from iot_receiver.logs import configure, event
from iot_receiver.secrets import SecretsError
from iot_receiver.server import listen, listen_for_checks
from iot_receiver.settings import Settings

CLOSING_SECONDS = 5.0  # for connections in use to end with an answer instead of being cut
FINISH_SECONDS = 10.0  # for requests in flight; their deadline is far shorter
M_MMAP_THRESHOLD = -3  # malloc.h
LARGE = 65_536  # bytes; messages are far smaller


def receive() -> int:
    """Run until SIGTERM or SIGINT; a process that can't start says why and exits with 2."""
    try:
        settings = Settings.from_environment(os.environ)
        configure(settings.log_level)
        app = init_app(settings)
        give_large_blocks_back()
        allow_connections()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(app))
    except (SettingsError, SecretsError) as error:
        sys.stderr.write(f"iot-receiver can't start:\n{error}\n")
        return 2
    return 0


def give_large_blocks_back() -> None:
    """Have the C library return a large body's memory at once instead of keeping it for the next (mallopt(3))."""
    with suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)


def allow_connections() -> None:
    """Use as many file descriptors as the process may have: under overload, thousands of connections wait."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # unlimited, and more than the kernel allows a process
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def serve(app: web.Application) -> None:
    """Serve until SIGTERM, then until the load balancer has deregistered the target, then finish.

    Raises:
        SettingsError: when it can't listen where it should.
    """
    settings, lifecycle = app[keys.SETTINGS], app[keys.LIFECYCLE]
    loop = asyncio.get_running_loop()
    runner = web.AppRunner(app, shutdown_timeout=FINISH_SECONDS)
    await runner.setup()
    server = cast(web.Server, runner.server)
    checks = None
    try:
        if settings.health_port:
            checks = await listen_for_checks(server, settings.host, settings.health_port, settings.keepalive)
        listener = listen(server, settings.host, settings.port, settings.keepalive)
    except OSError as error:
        await runner.cleanup()
        names = "RECEIVER_HOST, RECEIVER_PORT and RECEIVER_HEALTH_PORT"
        raise SettingsError([f"{names} have to name free ports of this host: {error}"]) from error
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lifecycle.stop)
    event("started", "the receiver listens", port=settings.port, table=settings.table_name)

    await lifecycle.stop_requested.wait()
    event("stopping", "serving until the load balancer has deregistered this target")
    await asyncio.sleep(settings.deregistration_delay)

    lifecycle.closing = True
    listener.close()
    if checks:
        checks.close()
    deadline = loop.time() + CLOSING_SECONDS
    while (server.connections or listener.opening) and loop.time() < deadline:  # noqa: ASYNC110 - neither has an event
        await asyncio.sleep(0.05)
    await runner.cleanup()
    event("stopped", "every request was answered")
