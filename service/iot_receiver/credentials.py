"""AWS credentials, refreshed in the background so that no request waits for STS."""

import asyncio

from aiobotocore.session import AioSession
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, ClientError

from iot_receiver.logs import event, fault

POLL_SECONDS = 20.0  # botocore refreshes within the last 15 minutes of validity, so this is early enough
RETRY_SECONDS = 1.0


class Credentials:
    """Holds the newest credentials of the process's AWS identity.

    Attributes:
        current: what to sign with; None until the first were had.
    """

    def __init__(self, session: AioSession) -> None:
        self._session = session
        self.current: ReadOnlyCredentials | None = None

    async def refresh(self) -> bool:
        """Have botocore refresh them when it is time; True when there are credentials."""
        try:
            source = await self._session.get_credentials()
            if source is None:
                fault("credentials_missing", "no AWS credentials: is the service account's role set?")
                return False
            fresh = await source.get_frozen_credentials()
        except (BotoCoreError, ClientError, OSError) as error:
            fault("credentials_failed", "AWS credentials can't be had", error=error)
            return False
        if self.current is None:
            event("credentials_loaded", "AWS credentials were had")
        self.current = fresh
        return True

    async def keep_fresh(self) -> None:
        """Refresh for ever."""
        while True:
            fresh = await self.refresh()
            await asyncio.sleep(POLL_SECONDS if fresh else RETRY_SECONDS)
