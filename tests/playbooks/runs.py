"""Runs playbooks of a copy of the example inventory against an AWS that only answers who acts."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT

CALLER = """<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>arn:aws:iam::{account}:user/somebody</Arn><UserId>AIDA</UserId><Account>{account}</Account>
</GetCallerIdentityResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetCallerIdentityResponse>"""


@dataclass
class Aws:
    """An AWS of one account that knows STS's GetCallerIdentity, and refuses and notes all else."""

    account: str
    url: str = ""
    others: list[str] = field(default_factory=list)


@contextmanager
def answering(account: str) -> Iterator[Aws]:
    """Serve an Aws on a port of this machine."""
    aws = Aws(account)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            known = "Action=GetCallerIdentity" in body
            if not known:
                aws.others.append(f"{self.path} {self.headers.get('X-Amz-Target', '')} {body[:100]}")
            self.send_response(200 if known else 400)
            self.end_headers()
            self.wfile.write(CALLER.format(account=account).encode() if known else b"")

        do_GET = do_PUT = do_DELETE = do_POST  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: Any) -> None:
            """Keep the tests' output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        aws.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield aws
        finally:
            server.shutdown()


@dataclass(frozen=True)
class Done:
    """How a run ended, and what it printed, white space folded."""

    status: int
    output: str


def run(folder: Path, playbook: str, *options: str, variables: dict[str, Any] | None = None) -> Done:
    """Run a playbook with the example inventory's prod.yml, and variables over it.

    :param folder: for what the run leaves behind.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "ANSIBLE_"))}
    program = shutil.which("ansible-playbook", path=f"{ROOT / '.venv/bin'}:{os.environ['PATH']}")
    assert program, "ansible-playbook is not installed: make setup"
    done = subprocess.run(
        [program, "-i", "inventory/example/prod.yml", playbook, "-e", json.dumps(variables or {}), *options],
        cwd=ROOT, capture_output=True, text=True, timeout=600, check=False, stdin=subprocess.DEVNULL,
        env=environment | {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(folder), "ANSIBLE_NOCOLOR": "1"},
    )  # fmt: skip
    return Done(done.returncode, " ".join((done.stdout + done.stderr).split()))


def filled(aws: Aws, account: str, folder: Path) -> dict[str, Any]:
    """Variables of a whole inventory whose AWS is a given one."""
    return {
        "aws_account_id": account,
        "receiver_domain": "ingest.example.com",
        "terraform_backend": {"type": "local"},
        "terraform_workdir": str(folder / "terraform"),
        "preflight_tools": [],
        "aws_environment": {
            "AWS_ENDPOINT_URL": aws.url,
            "AWS_REGION": "us-east-2",
            "AWS_ACCESS_KEY_ID": "AKIAOFSOMEBODY000000",
            "AWS_SECRET_ACCESS_KEY": "secret",
        },
    }
