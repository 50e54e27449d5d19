"""The shared secrets: a folder of files, read again whenever it changes.

Kubernetes swaps a mounted Secret's files all at once, behind the symbolic link `..data`. During a rotation the
folder holds two secrets, and both are accepted.
"""

import asyncio
import hmac
import os
from hashlib import sha256
from pathlib import Path

from iot_receiver.logs import event, fault

POLL_SECONDS = 1.0


class SecretsError(RuntimeError):
    """There is no usable secret."""


def fingerprint(secret: bytes) -> str:
    """Twelve hex digits of a secret's SHA-256: enough to see which one a process has."""
    return sha256(secret).hexdigest()[:12]


class Secrets:
    """The secrets that open /ingest.

    Attributes:
        uses: how often each was used, by the name of its file and its fingerprint: in a rotation a secret
            changes its name, and a name its secret.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keyed: tuple[tuple[tuple[str, str], bytes], ...] = ()
        self.uses: dict[tuple[str, str], int] = {}

    def load(self) -> bool:
        """Read the folder; True when the secrets have changed.

        Raises:
            SecretsError: when there is none; the previous ones stay in use.
        """
        try:
            found = self._read()
        except OSError as error:
            raise SecretsError(f"{self._folder} can't be read: {error.strerror}") from error
        if not found:
            raise SecretsError(f"{self._folder} holds no secret: put one in a file named current")
        keyed = tuple(((name, fingerprint(secret)), secret) for name, secret in found)
        changed = keyed != self._keyed
        self._keyed = keyed
        for key, _ in keyed:
            self.uses.setdefault(key, 0)
        return changed

    def _read(self) -> list[tuple[str, bytes]]:
        """Name and content of each file, all of one version of the folder.

        Files read one by one across a swap could be a mixture that lacks a secret both versions have.
        """
        while True:
            version = self._version()
            found = [
                (os.fsencode(path.name).decode(errors="replace"), path.read_bytes().strip())
                for path in sorted(version.iterdir())
                if not path.name.startswith(".") and path.is_file()
            ]
            if self._version() == version:
                return [(name, secret) for name, secret in found if secret]

    def _version(self) -> Path:
        """The folder that holds the files now."""
        mounted = self._folder / "..data"
        return mounted.resolve() if mounted.exists() else self._folder

    def admits(self, given: str) -> bool:
        """Say whether `given` is one of the secrets, in a time that does not depend on how much of it matches."""
        text = given.encode("utf-8", "surrogateescape")
        matched = None
        for key, secret in self._keyed:
            if hmac.compare_digest(text, secret):
                matched = key
        if matched is None:
            return False
        self.uses[matched] += 1
        return True

    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of each secret, by name."""
        return {name: fingerprint for (name, fingerprint), _ in self._keyed}

    async def watch(self) -> None:
        """Read the folder every second."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                changed = await asyncio.to_thread(self.load)
            except SecretsError as error:
                fault(
                    "secrets_unreadable",
                    "the secrets can't be read: the previous ones stay in use",
                    detail=str(error),
                )
            else:
                if changed:
                    event("secrets_changed", "the secrets have changed", secrets=self.fingerprints())
