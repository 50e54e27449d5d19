"""The secrets follow their folder, as Kubernetes changes it."""

import asyncio
import contextlib
import os
import re
import shutil
from itertools import cycle
from pathlib import Path
from threading import Event, Thread

import pytest
from iot_receiver import secrets as secrets_module
from iot_receiver.secrets import Secrets, SecretsError, fingerprint

from tests.service.harness import SECRET, Make, Receiver

GOOD = {"deviceId": "d", "temp": 1}


def mount(folder: Path, number: int, files: dict[str, str]) -> None:
    """Change the folder as the kubelet does: a new folder, and one rename of the link to it."""
    version = folder / f"..{number}"
    version.mkdir()
    for name, text in files.items():
        (version / name).write_text(text)
    link = folder / "..data_tmp"
    link.symlink_to(version.name)
    link.rename(folder / "..data")
    for path in folder.iterdir():
        if not path.name.startswith("..") and path.name not in files:
            path.unlink()
    for name in files:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")


def test_a_mounted_secret(tmp_path: Path) -> None:
    mount(tmp_path, 1, {"current": "one\n"})
    secrets = Secrets(tmp_path)
    assert secrets.load()
    assert not secrets.load()
    assert (secrets.admits("one"), secrets.admits("two")) == (True, False)
    mount(tmp_path, 2, {"current": "two", "previous": "one"})
    assert secrets.load()
    assert (secrets.admits("one"), secrets.admits("two"), secrets.admits("")) == (True, True, False)
    one, two = fingerprint(b"one"), fingerprint(b"two")
    # the old secret is counted under each of its names, the new one by itself
    assert secrets.uses == {("current", one): 1, ("previous", one): 1, ("current", two): 1}
    assert secrets.fingerprints() == {"current": two, "previous": one}
    mount(tmp_path, 3, {"current": "two"})
    assert secrets.load()
    assert (secrets.admits("one"), secrets.admits("two")) == (False, True)


def test_a_swap_while_reading_hides_no_secret(tmp_path: Path) -> None:
    """Promotion renames the secrets: whichever moment the folder is read at, both are taken."""
    stop = Event()
    before, after = {"current": "one", "next": "two"}, {"current": "two", "previous": "one"}

    def swap() -> None:
        for number, files in enumerate(cycle((before, after)), start=2):
            if stop.is_set():
                return
            mount(tmp_path, number, files)
            shutil.rmtree(tmp_path / f"..{number - 1}")

    mount(tmp_path, 1, before)
    secrets = Secrets(tmp_path)
    secrets.load()
    swapping = Thread(target=swap)
    swapping.start()
    try:
        for _ in range(1000):
            with contextlib.suppress(SecretsError):  # the version just gone: the last one stays in use
                secrets.load()
            assert secrets.admits("one")
            assert secrets.admits("two")
    finally:
        stop.set()
        swapping.join()


def test_no_secret_is_an_error_and_the_last_ones_stay(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path)
    with pytest.raises(SecretsError, match="put one in a file named current"):
        secrets.load()
    (tmp_path / "current").write_text("one")
    secrets.load()
    (tmp_path / "current").write_text(" \n")
    with pytest.raises(SecretsError):
        secrets.load()
    assert secrets.admits("one")
    os.truncate(tmp_path / "current", 0)
    tmp_path.joinpath("current").unlink()
    tmp_path.rmdir()
    with pytest.raises(SecretsError, match="can't be read"):
        secrets.load()
    assert secrets.admits("one")


async def test_rotation_while_running(make_receiver: Make, secrets_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets_module, "POLL_SECONDS", 0.01)
    receiver = await make_receiver()
    (secrets_dir / "previous").write_text(SECRET)
    (secrets_dir / "current").write_text("new")
    for secret, status in (("new", 200), (SECRET, 200)):
        await eventually(receiver, secret, status)
    (secrets_dir / "previous").unlink()
    await eventually(receiver, SECRET, 403)
    await eventually(receiver, "new", 200)
    text = await (await receiver.client.get("/metrics")).text()
    new, old = fingerprint(b"new"), fingerprint(SECRET.encode())
    assert f'iot_receiver_secret_info{{fingerprint="{new}",secret="current"}} 1' in text
    assert f'iot_receiver_secret_info{{fingerprint="{old}"' not in text
    assert f'iot_receiver_secret_uses_total{{fingerprint="{new}",secret="current"}} 2' in text
    assert re.search(rf'iot_receiver_secret_uses_total{{fingerprint="{old}",secret="previous"}} [1-9]', text)
    assert SECRET not in text


async def eventually(receiver: Receiver, secret: str, status: int) -> None:
    async with asyncio.timeout(15):
        while True:
            if (await receiver.send(GOOD, X_Iot_Secret=secret)).status == status:
                return
            await asyncio.sleep(0.01)
