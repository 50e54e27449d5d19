"""Serves readings until SIGTERM or SIGINT: `python -m iot_readings`."""

import asyncio
import os
import signal
import sys

import uvloop
from aiohttp import web
from iot_receiver.environment import SettingsError
from iot_receiver.logs import configure, event

from iot_readings import keys
from iot_readings.app import init_app
from iot_readings.settings import Settings

FINISH_SECONDS = 5.0  # for answers under way; streams are ended at once


def main() -> int:
    """Run; a process that can't start says why, and ends with 2."""
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        sys.stderr.write(f"iot-readings can't start:\n{error}\n")
        return 2
    configure(settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(init_app(settings)))
    return 0


async def serve(app: web.Application) -> None:
    """Serve until told to stop."""
    settings, lifecycle = app[keys.SETTINGS], app[keys.LIFECYCLE]
    loop = asyncio.get_running_loop()
    # A page's stream may name fifty devices in its URL.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=FINISH_SECONDS, max_line_size=65_536)
    await runner.setup()
    await web.TCPSite(runner, settings.host, settings.port).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lifecycle.stop)
    event("started", "readings are served", host=settings.host, port=settings.port, table=settings.table_name)
    await lifecycle.stop_requested.wait()
    await runner.cleanup()
    event("stopped", "no more readings are served")


if __name__ == "__main__":
    sys.exit(main())
