"""The emulated AWS as a process of its own, forked from one that has imported its libraries."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support import forks
from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.waiting import until

PROGRAM = """\
import sys
sys.path.insert(0, {sandbox!r})
from iot_sandbox.aws.__main__ import main
sys.exit(main(["--port", "{port}"]))
"""
SANDBOX = str(ROOT / "sandbox")
LIBRARIES = ("iot_sandbox.aws.app",)
# What `main` sets before these are imported.
VARIABLES = (("PYTHONPATH", SANDBOX), ("MOTO_ACCOUNT_ID", "123456789012"), ("MOTO_IAM_LOAD_MANAGED_POLICIES", "true"))


@contextmanager
def emulated_aws(
    folder: Path, authority: Path, variables: Mapping[str, str], python: Path = Path(sys.executable)
) -> Iterator[str]:
    """Run it until it is left, and give its URL.

    :param folder: for its log and its certificates.
    :param authority: folder of the CA that signs and that it trusts.
    :param variables: its settings, named without `SANDBOX_`.
    :param python: the interpreter, of an environment with the sandbox's libraries.
    """
    port = free_port()
    url, log = f"http://127.0.0.1:{port}", folder / "aws.log"
    settings = {"CA_DIR": str(authority), "CA_BUNDLE": str(authority / "ca.crt"), "ACM_DIR": str(folder / "acm"),
                "PUBLIC_URL": url, **variables}  # fmt: skip
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SANDBOX_"))}
    environment = own | {f"SANDBOX_{name}": value for name, value in settings.items()}
    if "AWS_ACCOUNT_ID" not in variables:  # another account than the one in VARIABLES
        environment |= forks.server(python.parent.parent, LIBRARIES, VARIABLES)
    program = PROGRAM.format(sandbox=SANDBOX, port=port).encode()
    with log.open("wb") as output, subprocess.Popen([python], env=environment, stdin=subprocess.PIPE, stdout=output,
                                                    stderr=output) as server:  # fmt: skip
        assert server.stdin
        server.stdin.write(program)
        server.stdin.close()

        def answers() -> bool:
            assert server.poll() is None, log.read_text()
            try:
                with urllib.request.urlopen(f"{url}/sandbox/health", timeout=2):  # noqa: S310 - our own http URL
                    return True
            except OSError:
                return False

        try:
            until(answers, 60, f"the emulated AWS does not answer: {log}", 0.1)
            yield url
        finally:
            server.terminate()
