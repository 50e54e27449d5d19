"""playbooks/status.yml of a deployment in which nothing answers: every hop is shown, and the first broken one named."""

import json
import re
from pathlib import Path

import pytest

from tests.playbooks.runs import Aws, adopted, answering, run

ACCOUNT = "123456789012"
HOPS = ("account", "run", "terraform", "nodes", "controller", "receiver", "domain", "destination", "rule", "policy",
        "secret", "certificates", "readings", "dead letters", "monitoring")  # fmt: skip
HOLDER = {"id": "0123456789ab", "user": "ann", "host": "laptop-1", "since": "2026-01-31T12:00:00+00:00"}


@pytest.mark.long
@pytest.mark.parametrize("holder", [None, HOLDER])
def test_every_hop_is_shown_and_the_first_broken_one_is_named(
    holder: dict[str, str] | None, tmp_path: Path
) -> None:
    with answering(ACCOUNT) as aws:
        aws.parameters = {"/iot-deployment/iot-receiver/run-lock": json.dumps(holder)} if holder else {}
        before = dict(aws.parameters)
        done = run(tmp_path, "playbooks/status.yml", variables=adopted(aws, ACCOUNT, tmp_path))
        assert done.status != 0
        assert aws.parameters == before, "it takes no lock"
        assert_only_reads(aws)
    assert f"ok {ACCOUNT}, us-east-2, as arn:aws:iam::{ACCOUNT}:user/somebody" in done.output
    shown = done.output[done.output.index("Show the deployment]"):]
    places = [re.search(rf" {hop} (ok|note|BROKEN) ", shown) for hop in HOPS]
    assert all(places)
    assert [place.start() for place in places if place] == sorted(place.start() for place in places if place)
    assert "The path breaks at: nodes (it could not be asked)" in done.output
    assert ("run note ann on laptop-1" in done.output) is bool(holder)


def assert_only_reads(aws: Aws) -> None:
    """Every call that was made only looks."""
    for call in aws.others:
        operation = call.split(".")[-1] if "X-Amz-Target" in call else call
        assert not any(word in operation for word in ("Create", "Delete", "Put", "Update")), call
