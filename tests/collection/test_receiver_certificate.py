"""Role receiver waits until ACM has issued its certificate; with DNS elsewhere, somebody has to create its records."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.collection.helpers import Aws
from tests.support.ansible import environment
from tests.support.paths import ROOT


def requested(aws: Aws, name: str) -> tuple[str, dict[str, str]]:
    """A new certificate's ARN, and the record that proves its domain."""
    acm = aws("acm")
    arn = acm.request_certificate(DomainName=name, ValidationMethod="DNS")["CertificateArn"]
    [option] = acm.describe_certificate(CertificateArn=arn)["Certificate"]["DomainValidationOptions"]
    return arn, option["ResourceRecord"]


def create(aws: Aws, record: dict[str, str]) -> None:
    """Create the record, as somebody does at the domain's DNS provider."""
    route53 = aws("route53")
    domain = record["Name"].partition(".")[2]
    zone = route53.create_hosted_zone(Name=domain, CallerReference=domain)["HostedZone"]["Id"]
    made = {"Name": record["Name"], "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": record["Value"]}]}
    changes = [{"Action": "CREATE", "ResourceRecordSet": made}]
    route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})


@pytest.fixture(name="play")
def _play(endpoint: str, tmp_path: Path) -> Any:
    """Run the role's part for a certificate; returns the exit status and what is printed, on one line."""
    tasks = [{"ansible.builtin.include_role": {"name": "receiver", "tasks_from": "certificate"}}]
    book = tmp_path / "play.yml"
    book.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))

    def run(
        arn: str, *arguments: str, when_it_waits: Callable[[], None] | None = None, **variables: Any
    ) -> tuple[int, str]:
        given = {
            "infrastructure_certificate_arn": arn,
            "receiver_domain": "in.elsewhere.test",
            "ansible_python_interpreter": sys.executable,
            "__receiver_certificate_delay": 1,
            **variables,
        }
        command = ["ansible-playbook", "-i", "localhost,", "-c", "local", str(book), "-e", json.dumps(given)]
        operator = environment(
            AWS_ENDPOINT_URL=endpoint,
            AWS_REGION="us-east-2",
            AWS_ACCESS_KEY_ID="operator",
            AWS_SECRET_ACCESS_KEY="secret",
        )
        with subprocess.Popen(
            [*command, *arguments], cwd=ROOT, env=operator, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as process:  # fmt: skip
            assert process.stdout
            lines = []
            for line in process.stdout:
                lines.append(line)
                if when_it_waits and "retries left" in line:
                    when_it_waits()
                    when_it_waits = None
        return process.returncode, " ".join(" ".join(lines).split())

    return run


def test_the_run_waits_for_the_record_and_goes_on(play: Any, aws: Aws) -> None:
    arn, record = requested(aws, "waits.elsewhere.test")
    status, output = play(arn, receiver_certificate_timeout=120, when_it_waits=lambda: create(aws, record))
    assert status == 0, output
    assert f"{record['Name']} CNAME {record['Value']}" in output
    assert "Wait until the certificate is issued (120 retries left)" in output
    again, output = play(arn)
    assert again == 0, output
    assert record["Name"] not in output


def test_a_run_that_ended_is_taken_up_by_the_next(play: Any, aws: Aws) -> None:
    arn, record = requested(aws, "ends.elsewhere.test")
    status, output = play(arn, receiver_certificate_timeout=1)
    assert status != 0
    assert f"run this again, which goes on here: {record['Name']} CNAME {record['Value']}" in output
    checked, output = play(arn, "--check")
    assert checked == 0, output
    assert record["Name"] in output
    create(aws, record)
    assert play(arn, receiver_certificate_timeout=60)[0] == 0
