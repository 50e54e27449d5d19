"""Makes Ansible's modules importable and callable in this process, against an emulated AWS of the tests' own."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

from tests.collection.faults import Proxy, proxied
from tests.collection.helpers import imported
from tests.collection.receivers import Receiver, receiving
from tests.support.certificates import make_certificate
from tests.support.emulated_aws import emulated_aws
from tests.support.paths import ROOT

_AnsibleCollectionFinder(paths=[str(ROOT / "collections")])._install()
sys.path.append(str(ROOT / "roles/verify/files"))

# Keys that are a part of no other text: Ansible masks them wherever they occur in a result.
CREDENTIALS = {"access_key": "AKIATESTSOFMODULES00", "secret_key": "4e5c0b7a9d2f4163a8e0b6c1d7f3925e8a4b6c0d"}
Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session", name="authority")
def _authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CA that the emulated AWS trusts, and a certificate of it for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("authority")
    make_certificate(folder, "ca", subject="Test CA")
    signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"]
    make_certificate(folder, "server", *signed, "-addext", "subjectAltName=IP:127.0.0.1", subject="127.0.0.1")
    return folder


def emulated(authority: Path, folder: Path, **variables: str) -> AbstractContextManager[str]:
    """Run an emulated AWS with settings, named without `SANDBOX_`, and give its URL."""
    python = Path(os.environ.get("SANDBOX_PYTHON", ROOT / "build/venv/sandbox-test/bin/python"))
    if not python.exists():
        pytest.fail(f"{python} is missing: make build/venv/sandbox-test/installed")
    return emulated_aws(folder, authority, {"IOT_DELETION_TIME": "0.7"} | variables, python)


@pytest.fixture(scope="session", name="endpoint")
def _endpoint(authority: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an emulated AWS that lives as long as the tests."""
    with emulated(authority, tmp_path_factory.mktemp("aws")) as url:
        yield url


@pytest.fixture(autouse=True, scope="session")
def _api_read_once() -> None:
    """Descriptions of AWS's APIs are read once for all modules, which each make a client of their own."""
    import botocore.session  # noqa: PLC0415 - after the finder, as Ansible's own modules do

    botocore.session.create_loader = cache(botocore.session.create_loader)


@pytest.fixture(name="run")
def _run(endpoint: str) -> Run:
    """Call a module (see `imported`) with options and return its result; one that failed has `failed`."""
    connection = {**CREDENTIALS, "region": "us-east-2", "endpoint_url": endpoint}

    def run(module: str, check: bool = False, **options: Any) -> dict[str, Any]:
        printed = StringIO()
        arguments = {**connection, **options, "_ansible_check_mode": check, "_ansible_diff": True}
        with patch_module_args(arguments), redirect_stdout(printed), pytest.raises(SystemExit):
            imported(module).main()
        result: dict[str, Any] = json.loads(printed.getvalue().splitlines()[-1])
        return result

    return run


@pytest.fixture(name="proxy")
def _proxy(endpoint: str) -> Iterator[Proxy]:
    """A proxy before the emulated AWS that makes faults."""
    with proxied(endpoint) as proxy:
        yield proxy


@pytest.fixture(name="receiver")
def _receiver(authority: Path, endpoint: str) -> Iterator[Receiver]:
    """An HTTPS endpoint that confirms to the emulated AWS."""
    with receiving(authority, endpoint) as receiver:
        yield receiver


@pytest.fixture(name="aws")
def _aws(endpoint: str) -> Callable[[str], Any]:
    """A boto3 client of the emulated account, by service name."""
    import boto3  # noqa: PLC0415 - after the finder, as Ansible's own modules do

    keys = {
        "aws_access_key_id": CREDENTIALS["access_key"],
        "aws_secret_access_key": CREDENTIALS["secret_key"],
    }
    session = boto3.Session(**keys, region_name="us-east-2")
    return lambda service: session.client(service, endpoint_url=endpoint)
