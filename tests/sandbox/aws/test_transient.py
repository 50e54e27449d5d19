"""The emulator of check mode: there while a playbook runs, gone afterwards with all it made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import boto3

from tests.support.paths import ROOT
from tests.support.waiting import until


def test_it_lasts_as_long_as_the_playbook(tmp_path: Path) -> None:
    extra = tmp_path / "environment"
    extra.mkdir()
    # A process of the playbook's name starts the emulator, prints its answer and waits until it is ended.
    script = tmp_path / "ansible-playbook"
    script.write_text(
        "import subprocess, sys\n"
        f"command = [{sys.executable!r}, '-m', 'iot_sandbox.aws', '--transient', '--remove', {str(extra)!r}]\n"
        "print(subprocess.run(command, capture_output=True, text=True, check=True).stdout, flush=True)\n"
        "sys.stdin.read()\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SANDBOX_"))} | {
        "PYTHONPATH": str(ROOT / "sandbox"),
        "SANDBOX_HOSTED_ZONES": "sandbox.test",
        "TMPDIR": str(tmp_path),
    }
    with subprocess.Popen(
        [sys.executable, str(script)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as playbook:
        assert playbook.stdout
        assert playbook.stdin
        found = json.loads(playbook.stdout.readline())["environment"]
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            assert Path(found[name]).stat().st_size > 0
        url = found["AWS_ENDPOINT_URL"]
        client = boto3.client(
            "route53",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",
        )
        assert [z["Name"] for z in client.list_hosted_zones()["HostedZones"]] == ["sandbox.test."]
        playbook.stdin.close()
    until(lambda: not Path(found["AWS_CONFIG_FILE"]).parent.exists() and not extra.exists())

    def answers() -> bool:
        try:
            return bool(urllib.request.urlopen(f"{url}/sandbox/health", timeout=1).status)  # noqa: S310 - our own URL
        except OSError:
            return False

    until(lambda: not answers())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ansible-playbook"]
