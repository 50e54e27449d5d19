"""AWS credentials, refreshed in the background so that no request waits for STS."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from aiobotocore.session import AioSession, get_session
from botocore.credentials import ReadOnlyCredentials, RefreshableCredentials

from iot_receiver.logs import event, fault

POLL_SECONDS = 20.0  # botocore refreshes within the last 15 minutes of validity, so this is early enough
RETRY_SECONDS = 1.0
REFRESH_SECONDS = 10.0  # botocore itself would wait for STS for a minute


class Credentials:
    """Holds the newest credentials of the process's AWS identity.

    Args:
        new_session: the source of sessions that have no credentials yet.

    Attributes:
        current: what to sign with; None until the first have arrived.
    """

    def __init__(self, session: AioSession, new_session: Callable[[], AioSession] = get_session) -> None:
        self._session = session
        self._new_session = new_session
        self._source: object = None
        self._renew = asyncio.Event()
        self._renewed = float("-inf")
        self.current: ReadOnlyCredentials | None = None

    @property
    def valid(self) -> bool:
        """Whether there are credentials that have not expired."""
        expired = isinstance(self._source, RefreshableCredentials) and self._source.refresh_needed(0)
        return self.current is not None and not expired

    async def refresh(self) -> bool:
        """Let botocore refresh them when due; True when there are credentials."""
        try:
            async with asyncio.timeout(REFRESH_SECONDS):
                source = await self._session.get_credentials()
                if source is None:
                    fault("credentials_missing", "no AWS credentials: is the service account's role set?")
                    return False
                fresh = await source.get_frozen_credentials()
        except Exception as error:  # noqa: BLE001 - STS may answer anything; the next round tries again
            fault("credentials_failed", "AWS credentials can't be loaded", error=error)
            return False
        if self.current is None:
            event("credentials_loaded", "AWS credentials loaded")
        self._source, self.current = source, fresh
        return True

    def expired(self, credentials: ReadOnlyCredentials) -> None:
        """Have others loaded at once: AWS says that these have expired, whatever they say themselves."""
        now = asyncio.get_running_loop().time()
        if credentials == self.current and now - self._renewed >= RETRY_SECONDS:
            fault("credentials_expired", "AWS says that the credentials have expired: loading others")
            self._renewed = now
            self._session = self._new_session()  # botocore would keep its own for as long as it believes in them
            self._renew.set()

    async def keep_fresh(self) -> None:
        """Refresh until cancelled."""
        while True:
            fresh = await self.refresh()
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS if fresh else RETRY_SECONDS):
                    await self._renew.wait()
            self._renew.clear()
