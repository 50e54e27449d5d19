"""Runs playbooks of a copy of the example inventory against an AWS that only answers who acts."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests.support import playbook as program
from tests.support.paths import ROOT

SETTINGS: dict[str, str] = {}  # of Ansible, over ansible.cfg
CALLER = """<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>arn:aws:iam::{account}:user/somebody</Arn><UserId>AIDA</UserId><Account>{account}</Account>
</GetCallerIdentityResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetCallerIdentityResponse>"""


@dataclass
class Aws:
    """An AWS of one account that knows STS's GetCallerIdentity, and refuses and notes all else.

    Where it is given parameters, it has those of Systems Manager, too, and things of IoT Core with their attributes.
    """

    account: str
    url: str = ""
    others: list[str] = field(default_factory=list)
    parameters: dict[str, str] | None = None
    things: dict[str, dict[str, str]] = field(default_factory=dict)
    hangs: bool = False  # instead of refusing
    asked: threading.Event = field(default_factory=threading.Event)  # what it refuses or hangs at

    def parameter(self, operation: str, wanted: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Systems Manager's answer to a call: status and content."""
        assert self.parameters is not None
        name = wanted["Name"]
        if operation == "PutParameter":
            assert wanted["Overwrite"] is False
            if name in self.parameters:
                return 400, {"__type": "ParameterAlreadyExists"}
            self.parameters[name] = wanted["Value"]
            return 200, {"Version": 1}
        if name not in self.parameters:
            return 400, {"__type": "ParameterNotFound"}
        if operation == "GetParameter":
            return 200, {"Parameter": {"Name": name, "Value": self.parameters[name]}}
        del self.parameters[name]
        return 200, {}


@contextmanager
def answering(account: str) -> Iterator[Aws]:
    """Serve an Aws on a port of this machine."""
    aws = Aws(account)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            service, _, operation = self.headers.get("X-Amz-Target", "").partition(".")
            if service == "AmazonSSM" and aws.parameters is not None:
                status, answer = aws.parameter(operation, json.loads(body))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())
                return
            known = "Action=GetCallerIdentity" in body
            if not known:
                aws.others.append(f"{self.path} {self.headers.get('X-Amz-Target', '')} {body[:100]}")
                aws.asked.set()
                while aws.hangs:
                    time.sleep(0.1)
            self.send_response(200 if known else 400)
            self.end_headers()
            self.wfile.write(CALLER.format(account=account).encode() if known else b"")

        def do_GET(self) -> None:
            thing = self.path.removeprefix("/things/")
            if thing not in aws.things:
                self.do_POST()
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"thingName": thing, "attributes": aws.things[thing]}).encode())

        do_PUT = do_DELETE = do_POST  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: Any) -> None:
            """Keep the tests' output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        aws.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield aws
        finally:
            aws.hangs = False
            server.shutdown()


@dataclass(frozen=True)
class Done:
    """How a run ended, and what it printed, white space folded."""

    status: int
    output: str


def arguments(playbook: str, options: tuple[str, ...], variables: dict[str, Any] | None) -> list[str]:
    """A run's arguments: the example inventory's prod.yml, and variables over it; options may begin with a playbook."""
    return ["-i", "inventory/example/prod.yml", "-e", json.dumps(variables or {}), playbook, *options]


def environment(folder: Path) -> dict[str, str]:
    """A run's environment.

    :param folder: for what the run leaves behind.
    """
    others = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "ANSIBLE_"))}
    return others | SETTINGS | {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(folder), "ANSIBLE_NOCOLOR": "1",
                                "ANSIBLE_HOME": str(ROOT / "build/test/ansible")}  # fmt: skip


@contextmanager
def started(
    folder: Path, playbook: str, *options: str, variables: dict[str, Any] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Start a playbook; at the end it is killed."""
    running = subprocess.Popen(
        [ROOT / ".venv/bin/ansible-playbook", *arguments(playbook, options, variables)], cwd=ROOT, text=True,
        env=environment(folder), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    with running:
        try:
            yield running
        finally:
            running.kill()


def run(folder: Path, playbook: str, *options: str, variables: dict[str, Any] | None = None) -> Done:
    """Run a playbook to its end."""
    done = program.run(*arguments(playbook, options, variables), env=environment(folder), timeout=600,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    return Done(done.returncode, " ".join(done.stdout.split()))


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


def adopted(aws: Aws, account: str, folder: Path) -> dict[str, Any]:
    """Variables of a deployment that exists, all of it adopted, so that looking it up calls nothing."""
    kubeconfig = folder / "kubeconfig"
    user = {"name": "nobody", "user": {"token": "none"}}
    kubeconfig.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [user],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "nobody"}}],
    }))  # fmt: skip
    names = yaml.safe_load((ROOT / "roles/deployment_facts/vars/main.yml").read_text())["__deployment_facts_names"]
    return {
        **filled(aws, account, folder), **{f"infrastructure_{name}": name for name in names},
        "terraform_enabled": False, "infrastructure_account_id": account, "infrastructure_table_schema": "message_time",
        "infrastructure_kubeconfig_file": str(kubeconfig),
    }  # fmt: skip
