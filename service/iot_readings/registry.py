"""The fleet's names, from IoT's registry of things: the table itself can only tell them by a scan."""

import asyncio
from collections.abc import Callable
from time import monotonic, time
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError, ClientError
from iot_receiver.logs import fault

from iot_readings.settings import Settings

PAGE_THINGS = 250  # ListThings' limit
PAUSE_SECONDS = 0.12  # ListThings may be called ten times a second (AWS IoT Core quotas)
REFRESH_SECONDS = 15.0
EMPTY_SECONDS = 2.0  # of a fleet that has no thing yet
REFRESH_SHARE = 10  # reading the registry takes at most a tenth of the time


class Registry:
    """Reads all things again and again, and says what it found.

    Those of another deployment in the account are left out.

    Attributes:
        complete: the whole registry was read at least once.
        failing: why the last attempt failed; empty when it did not.
    """

    def __init__(self, session: AioSession, settings: Settings) -> None:
        self._session = session
        self._region = settings.aws_region
        self._hidden = settings.hidden_things
        self._deployment = settings.deployment
        self.complete = False
        self.failing = ""

    async def follow(self, add: Callable[[list[str]], None], keep: Callable[[set[str], float], None]) -> None:
        """Read for ever; `add` gets each page's names at once, `keep` all names and when their reading began."""
        config = AioConfig(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3})
        async with self._session.create_client("iot", region_name=self._region, config=config) as client:
            while True:
                started, began, pause = monotonic(), time(), REFRESH_SECONDS
                try:
                    names = await self._read(client, add)
                    keep(names, began)
                    pause = REFRESH_SECONDS if names else EMPTY_SECONDS
                    self.complete, self.failing = True, ""
                except (BotoCoreError, ClientError, OSError) as error:
                    self.failing = type(error).__name__
                    if isinstance(error, ClientError):
                        self.failing = str(error.response.get("Error", {}).get("Code", self.failing))
                    fault("registry_unread", "IoT's registry of things can't be read", error=error, code=self.failing,
                          action="iot:ListThings")  # fmt: skip
                await asyncio.sleep(max(pause, REFRESH_SHARE * (monotonic() - started)))

    async def _read(self, client: Any, add: Callable[[list[str]], None]) -> set[str]:
        names: set[str] = set()
        token: dict[str, str] = {}
        while True:
            answer = await client.list_things(maxResults=PAGE_THINGS, **token)
            page = [each["thingName"] for each in answer["things"] if self._is_listed(each)]
            add(page)
            names.update(page)
            if not answer.get("nextToken"):
                return names
            token = {"nextToken": answer["nextToken"]}
            await asyncio.sleep(PAUSE_SECONDS)

    def _is_listed(self, thing: dict[str, Any]) -> bool:
        owner = thing.get("attributes", {}).get("Deployment", self._deployment)
        return thing["thingName"] not in self._hidden and self._deployment in ("", owner)
