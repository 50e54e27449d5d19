"""The shared secrets: a folder of files, read again whenever it changes.

Kubernetes swaps a mounted Secret's files at once behind a symbolic link, so a change shows in what the
folder lists. During a rotation the folder holds two secrets, and both are taken.
"""

import asyncio
import hmac
from hashlib import sha256
from pathlib import Path

from iot_receiver.logs import event, fault

POLL_SECONDS = 1.0


class SecretsError(RuntimeError):
    """There is no usable secret."""


class Secrets:
    """Knows the secrets that open /ingest.

    Attributes:
        uses: how often each was used, by the name of its file.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._named: tuple[tuple[str, bytes], ...] = ()
        self.uses: dict[str, int] = {}

    def load(self) -> bool:
        """Read the folder; True when the secrets are others than before.

        Raises:
            SecretsError: when there is none; what was read before stays in use.
        """
        found: list[tuple[str, bytes]] = []
        try:
            for path in sorted(self._folder.iterdir()):
                # "..data" and "..2026_01_31" are Kubernetes' own
                if not path.name.startswith(".") and path.is_file():
                    text = path.read_bytes().strip()
                    if text:
                        found.append((path.name, text))
        except OSError as error:
            raise SecretsError(f"{self._folder} can't be read: {error.strerror}") from error
        if not found:
            raise SecretsError(f"{self._folder} holds no secret: put one in a file named current")
        changed = tuple(found) != self._named
        self._named = tuple(found)
        for name, _ in found:
            self.uses.setdefault(name, 0)
        return changed

    def admits(self, given: str) -> bool:
        """Say whether `given` is one of the secrets, in a time that tells nothing of how much of it fits."""
        text = given.encode("utf-8", "surrogateescape")
        matched = None
        for name, secret in self._named:
            if hmac.compare_digest(text, secret):
                matched = name
        if matched is None:
            return False
        self.uses[matched] += 1
        return True

    def fingerprints(self) -> dict[str, str]:
        """Twelve hex digits of each secret's SHA-256, by name: enough to see which one a process has."""
        return {name: sha256(secret).hexdigest()[:12] for name, secret in self._named}

    async def watch(self) -> None:
        """Read the folder again and again, for ever."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                changed = await asyncio.to_thread(self.load)
            except SecretsError as error:
                fault(
                    "secrets_unreadable",
                    "the secrets can't be read: the last ones stay in use",
                    detail=str(error),
                )
            else:
                if changed:
                    event("secrets_changed", "the secrets were read anew", secrets=self.fingerprints())
