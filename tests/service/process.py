"""The receiver as a process of its own, as its container runs it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import ClientError, ClientSession

from tests.service.harness import ACCOUNT, REGION
from tests.support.paths import ROOT
from tests.support.ports import free_port

SERVICE = str(ROOT / "service")


@dataclass
class Process:
    """A running receiver."""

    url: str
    process: asyncio.subprocess.Process

    def terminate(self) -> None:
        """Ask it to stop, as Kubernetes does."""
        self.process.send_signal(signal.SIGTERM)


@asynccontextmanager
async def receiver_process(secrets_dir: object, table: str, settings: Mapping[str, str]) -> AsyncIterator[Process]:
    """Run it with this environment and `settings`, and wait until it is ready."""
    async with starting(secrets_dir, table, settings) as running:
        await ready(running)
        yield running


@asynccontextmanager
async def starting(secrets_dir: object, table: str, settings: Mapping[str, str]) -> AsyncIterator[Process]:
    """Run it; it may not be ready yet."""
    port = free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": SERVICE,
        "AWS_REGION": REGION,
        "RECEIVER_AWS_ACCOUNT_ID": ACCOUNT,
        "RECEIVER_TABLE_NAME": table,
        "RECEIVER_SECRETS_DIR": str(secrets_dir),
        "RECEIVER_HOST": "127.0.0.1",
        "RECEIVER_PORT": str(port),
        **settings,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "iot_receiver", env=environment, stdout=asyncio.subprocess.PIPE
    )
    running = Process(f"http://127.0.0.1:{port}", process)
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ready(running: Process, seconds: int = 30) -> None:
    """Wait until it is ready."""
    async with ClientSession() as session:
        for _ in range(seconds * 10):
            try:
                async with session.get(f"{running.url}/readyz") as response:
                    if response.status == 200:
                        return
            except ClientError:
                pass
            await asyncio.sleep(0.1)
    raise RuntimeError(f"the receiver is not ready after {seconds} s")
