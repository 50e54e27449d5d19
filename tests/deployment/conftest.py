"""Fixtures for tests of a running sandbox: independent clients, and ways to run our playbooks.

Everything here looks at the deployment from outside: boto3, kubectl, HTTPS by the domain's name,
and an MQTT client that is not ours.
"""

import base64
import json
import re
import shutil
import ssl
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from tests.deployment.colleague import Operator, limited, policies
from tests.deployment.kit import THING
from tests.support import playbook as program
from tests.support.ansible import environment
from tests.support.paths import CACHE, ROOT, STATE

REGION = "us-east-2"
ENDPOINT = "http://10.213.0.1:4566"
DOMAIN = "ingest.sandbox.test"
TABLE = "iot-readings"


def needs_chart(name: str, what: str) -> pytest.MarkDecorator:
    """Skip tests of what a chart installs where the sandbox could not fetch the chart."""
    there = any((CACHE / "chart-archives").glob(f"{name}-*.tgz"))
    return pytest.mark.skipif(not there, reason=f"{what} is not in the sandbox: its chart could not be fetched")


@dataclass(frozen=True)
class Recap:
    """The end of a playbook's run: its status, its output, and the sums of its recap's columns."""

    status: int
    output: str
    changed: int
    failed: int


Playbook = Callable[..., Recap]


def recap(done: subprocess.CompletedProcess[str]) -> Recap:
    """The end of a run that has ended."""
    output = done.stdout + done.stderr
    sums = {key: sum(int(number) for number in re.findall(rf"{key}=(\d+)", output))
            for key in ("changed", "failed", "unreachable")}
    return Recap(done.returncode, output, sums["changed"], sums["failed"] + sums["unreachable"])


@pytest.fixture(scope="session")
def playbook() -> Playbook:
    """Runs a playbook from the checkout's root."""

    def run(*arguments: str, limit: int = 600) -> Recap:
        return recap(program.run(*arguments, env=environment(), capture_output=True, timeout=limit))

    return run


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Playbook:
    """Runs a playbook from a copy of what is committed or would be: the files that git lists, and no build folder."""
    folder = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True,
                            capture_output=True, check=True).stdout.splitlines()  # fmt: skip
    for name in listed:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)

    def run(*arguments: str) -> Recap:
        return recap(subprocess.run(["ansible-playbook", *arguments], cwd=folder, env=environment(folder), text=True,
                                    stdin=subprocess.DEVNULL, capture_output=True, timeout=900, check=False))

    return run


def changed(output: str) -> list[str]:
    """Names of the tasks that changed something."""
    return re.findall(r"^TASK \[(.*)\] \**\n(?:(?!TASK).*\n)*?changed:", output, re.MULTILINE)


@pytest.fixture(scope="session")
def aws() -> Callable[[str], Any]:
    """A boto3 client of the emulated account, by service name."""
    session = boto3.Session(
        aws_access_key_id="outsider", aws_secret_access_key="outsider", region_name=REGION
    )

    def client(service: str) -> Any:
        return session.client(service, endpoint_url=ENDPOINT)  # type: ignore[call-overload]

    return client


@pytest.fixture(scope="session")
def operator(aws: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A colleague who may do what the generated policies allow, and nothing else."""
    folder = tmp_path_factory.mktemp("operator")
    with limited(aws, "colleague", policies(folder), folder) as made:
        yield made


@pytest.fixture(scope="session")
def colleague(elsewhere: Playbook, operator: Operator) -> Playbook:
    """Runs a playbook as a colleague does: from the copy, with exactly the rights of the generated policies."""
    return lambda *arguments: elsewhere(*arguments, *operator.options)


class Kubectl:
    """kubectl with the sandbox's kubeconfig; a call returns parsed JSON."""

    def __init__(self) -> None:
        program = CACHE / "bin/current/kubectl"
        self.command = [str(program), f"--kubeconfig={STATE}/kubeconfig"]

    def __call__(self, *arguments: str) -> Any:
        return json.loads(self.text(*arguments, "-o", "json"))

    def text(self, *arguments: str, limit: int = 60) -> str:
        """What a command prints."""
        return subprocess.run([*self.command, *arguments], text=True, capture_output=True, timeout=limit,
                              check=True).stdout

    def receivers(self) -> list[dict[str, Any]]:
        """The receivers' pods in any state."""
        ours = ("-n", "apps", "-l", "app.kubernetes.io/name=iot-receiver")
        found: list[dict[str, Any]] = self("get", "pods", *ours)["items"]
        return found

    def ready_receivers(self) -> list[dict[str, Any]]:
        """The pods that are ready and stay: a terminating one still answers for a while."""
        return [
            pod for pod in self.receivers()
            if "deletionTimestamp" not in pod["metadata"]
            and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
        ]


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    """The cluster, as its administrator sees it."""
    return Kubectl()


@pytest.fixture
def secret(kubectl: Kubectl) -> str:
    """The shared secret that the receiver accepts now."""
    data = kubectl("get", "secret", "iot-receiver", "-n", "apps")["data"]
    return base64.b64decode(data["current"]).decode()


@pytest.fixture(scope="session")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kit, unzipped."""
    archive = ROOT / "build/123456789012/us-east-2/iot-receiver/kits" / f"{THING}.zip"
    assert archive.stat().st_mode & 0o077 == 0
    folder = tmp_path_factory.mktemp("kit")
    with zipfile.ZipFile(archive) as content:
        content.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def https() -> httpx.Client:
    """A client that trusts the sandbox's CA and resolves the domain by DNS."""
    return httpx.Client(base_url=f"https://{DOMAIN}", trust_env=False, timeout=10,
                        verify=ssl.create_default_context(cafile=str(STATE / "ca" / "ca.crt")))
