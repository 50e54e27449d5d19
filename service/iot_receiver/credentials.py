"""AWS credentials, refreshed in the background so that no request waits for STS."""

import asyncio

from aiobotocore.session import AioSession
from botocore.credentials import ReadOnlyCredentials, RefreshableCredentials

from iot_receiver.logs import event, fault

POLL_SECONDS = 20.0  # botocore refreshes within the last 15 minutes of validity, so this is early enough
RETRY_SECONDS = 1.0
REFRESH_SECONDS = 10.0  # botocore itself would wait for STS for a minute


class Credentials:
    """Holds the newest credentials of the process's AWS identity.

    Attributes:
        current: what to sign with; None until the first have arrived.
    """

    def __init__(self, session: AioSession) -> None:
        self._session = session
        self._source: object = None
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

    async def keep_fresh(self) -> None:
        """Refresh until cancelled."""
        while True:
            fresh = await self.refresh()
            await asyncio.sleep(POLL_SECONDS if fresh else RETRY_SECONDS)
