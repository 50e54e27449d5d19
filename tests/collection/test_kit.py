"""Role device_kit's archive and role device's wheel."""

import json
import stat
import subprocess
import sys
import zipfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.iotweb.deployment.plugins.modules import device_kit_archive

from tests.support.paths import ROOT


def kit(path: Path, check: bool = False, **options: Any) -> dict[str, Any]:
    """Run the archive's module."""
    printed = StringIO()
    arguments = {"path": str(path), "_ansible_check_mode": check, **options}
    with patch_module_args(arguments), redirect_stdout(printed), pytest.raises(SystemExit):
        device_kit_archive.main()
    result: dict[str, Any] = json.loads(printed.getvalue().splitlines()[-1])
    return result


KEY = {"name": "private.pem.key", "content": "secret", "mode": "0600"}
SCRIPT = {"name": "start.sh", "content": "#!/bin/sh\n", "mode": "0755"}


def test_an_archive_is_private_and_written_once(tmp_path: Path) -> None:
    path = tmp_path / "kit-1.zip"
    assert kit(path, check=True, members=[KEY])["changed"]
    assert not path.exists()
    assert kit(path, members=[KEY, SCRIPT])["changed"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not kit(path, members=[SCRIPT, KEY])["changed"]
    assert list(tmp_path.iterdir()) == [path]
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo("start.sh").external_attr >> 16 & 0o777 == 0o755
        assert archive.read("private.pem.key") == b"secret"


def test_the_key_is_kept_and_the_rest_replaced(tmp_path: Path) -> None:
    path = tmp_path / "kit-1.zip"
    kit(path, members=[KEY])
    assert kit(path, read="private.pem.key")["content"] == "secret"
    changed = kit(path, members=[SCRIPT], keep=["private.pem.key"])
    assert changed["diff"]["after"] == "start.sh\n"
    kit(path, members=[SCRIPT | {"name": "begin.sh"}], keep=["private.pem.key"])
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["begin.sh", "private.pem.key"]


def test_a_kit_that_others_could_read_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "kit-1.zip"
    kit(path, members=[KEY])
    path.chmod(0o644)
    assert kit(path, members=[KEY])["changed"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_reading_what_is_not_there_gives_nothing(tmp_path: Path) -> None:
    assert kit(tmp_path / "none.zip", read="private.pem.key")["content"] is None


def test_a_broken_archive_and_a_missing_source_are_named(tmp_path: Path) -> None:
    path = tmp_path / "kit-1.zip"
    path.write_text("no zip")
    assert "device_kit_reissue" in kit(path, read="private.pem.key")["msg"]
    path.unlink()
    missing = {"name": "a", "source": str(tmp_path / "gone")}
    assert "gone" in kit(path, members=[missing])["msg"]
    assert kit(path, check=True, members=[missing])["changed"]


def build(folder: Path, *options: str) -> dict[str, Any]:
    """Run the wheel's builder on the real sources."""
    command = [sys.executable, str(ROOT / "roles/device/files/build_wheel.py"), str(ROOT / "device"), str(folder)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_the_wheel_is_built_once_and_the_same_each_time(tmp_path: Path) -> None:
    foreseen = build(tmp_path / "a", "--dry-run")
    assert foreseen["changed"]
    assert not (tmp_path / "a").exists()
    built = build(tmp_path / "a")
    assert built == foreseen
    assert not build(tmp_path / "a")["changed"]
    with zipfile.ZipFile(built["path"]) as wheel:
        assert {"iot_device/__main__.py", "iot_device/AmazonRootCA1.pem"} <= set(wheel.namelist())
    other = Path(build(tmp_path / "b")["path"])
    assert other.read_bytes() == Path(built["path"]).read_bytes()
    assert not (ROOT / "device/build").exists()


def test_an_encrypted_kit_shows_nothing_and_stays_as_it_is(tmp_path: Path) -> None:
    password, path = tmp_path / "password", tmp_path / "kit-1.zip.vault"
    password.write_text("correct horse\n")
    given: dict[str, Any] = {"vault_password_file": str(password), "members": [KEY, SCRIPT]}
    assert kit(path, **given)["changed"]
    content = path.read_bytes()
    assert content.startswith(b"$ANSIBLE_VAULT;")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not kit(path, **given)["changed"]
    assert path.read_bytes() == content
    assert kit(path, vault_password_file=str(password), read="private.pem.key")["content"] == "secret"
    refused = kit(path, read="private.pem.key")
    assert refused["failed"]
    assert "device_kit_vault_password_file" in refused["msg"]
    password.write_text("wrong\n")
    assert "Decryption failed" in kit(path, **given)["msg"]
    assert path.read_bytes() == content


def test_a_kit_changes_its_form_without_losing_its_key(tmp_path: Path) -> None:
    password, plain, vault = tmp_path / "password", tmp_path / "kit-1.zip", tmp_path / "kit-1.zip.vault"
    password.write_text("correct horse\n")
    kit(plain, members=[KEY])
    given: dict[str, Any] = {"vault_password_file": str(password), "former": str(plain), "members": [SCRIPT]}
    assert kit(vault, check=True, keep=["private.pem.key"], **given)["changed"]
    assert plain.exists()
    assert kit(vault, keep=["private.pem.key"], **given)["changed"]
    assert not plain.exists()
    assert kit(vault, vault_password_file=str(password), read="private.pem.key")["content"] == "secret"
    assert not kit(vault, keep=["private.pem.key"], **given)["changed"]


def test_wheels_of_a_folder_go_into_the_kit(tmp_path: Path) -> None:
    folder, path = tmp_path / "wheels", tmp_path / "kit-1.zip"
    folder.mkdir()
    (folder / "a-1-py3-none-any.whl").write_bytes(b"a")
    (folder / "notes.txt").write_bytes(b"no wheel")
    assert kit(path, members=[KEY], wheels=str(folder))["changed"]
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["private.pem.key", "wheels/a-1-py3-none-any.whl"]
    assert not kit(path, members=[KEY], wheels=str(folder))["changed"]
    assert kit(path, members=[KEY])["changed"], "and out of it again"
