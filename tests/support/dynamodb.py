"""Starts Amazon's DynamoDB Local, whose jars come from Maven Central once and stay in a cache."""

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from tests.support.paths import CACHE, ROOT
from tests.support.ports import free_port

POM = ROOT / "sandbox/roles/emulated_aws/files/dynamodb-local/pom.xml"
JAVA = ("java", "-Xmx256m", "-XX:+UseSerialGC")
SHORT_LIVED = (*JAVA, "-XX:TieredStopAtLevel=1")  # ends before the optimising compiler has paid off


def jars() -> Path:
    """The folder with DynamoDB Local's jars, fetched when they are not there yet."""
    cache = Path(os.environ.get("IOT_SANDBOX_CACHE", CACHE))
    for jar in cache.glob("dynamodb-local/*/DynamoDBLocal-*.jar"):
        return jar.parent  # the sandbox has fetched them
    folder = ROOT / "build" / f"dynamodb-local-{sha256(POM.read_bytes()).hexdigest()[:12]}"
    if (folder / "complete").exists():
        return folder
    for tool, package in (("java", "openjdk-17-jre-headless"), ("mvn", "maven")):
        if shutil.which(tool) is None:
            raise RuntimeError(f"DynamoDB Local needs {tool}: apt-get install {package}")
    subprocess.run(
        [
            "mvn",
            "--quiet",
            "--batch-mode",
            f"--file={POM}",
            "dependency:copy-dependencies",
            f"-DoutputDirectory={folder}",
            "-DincludeScope=runtime",
        ],
        check=True,
        timeout=600,
    )
    (folder / "complete").touch()
    return folder


@contextmanager
def dynamodb_local(data: Path | None = None) -> Iterator[str]:
    """Run DynamoDB Local on a free port, its tables in memory or in a file of the folder `data`; gives its URL."""
    folder, port = jars(), free_port()
    command = [
        *(SHORT_LIVED if data is None else JAVA),
        f"-Djava.library.path={folder}",
        "-cp",
        f"{folder}/*",
        "com.amazonaws.services.dynamodbv2.local.main.ServerRunner",
        *(["-inMemory"] if data is None else ["-sharedDb", "-dbPath", str(data)]),
        "-disableTelemetry",
        "-port",
        str(port),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await_answer(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def await_answer(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a DynamoDB Local answers that was started just before."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=1).close()  # noqa: S310 - our own http address
        except urllib.error.HTTPError:
            return  # it refuses an unsigned call: it runs
        except OSError:
            if process.poll() is not None:
                raise RuntimeError(f"DynamoDB Local ended with {process.returncode}") from None
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("DynamoDB Local did not start within 60 s")
