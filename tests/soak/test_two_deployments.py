"""A second deployment in the first one's account comes by its name alone, works, and goes; the first is not touched."""

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.deployment.conftest import Kubectl, Playbook, changed
from tests.deployment.telemetry import telemetry
from tests.support.paths import ROOT, STATE
from tests.torn_down.account import LOOKS

Aws = Callable[[str], Any]
Held = dict[str, set[str]]
STAGING = ("-e", "deployment_name=staging")
KINDS = "namespaces,deployments,daemonsets,services,ingresses,serviceaccounts,configmaps,secrets,clusterroles"
VOLATILE = {"LastAccessedDate", "RoleLastUsed", "AttachmentCount", "storedBytes"}


def held(aws: Aws, kubectl: Kubectl) -> Held:
    """Everything in account and cluster by its kind, as texts that differ where it was changed or replaced."""
    found = {name: {text(each) for each in look(aws(service))} for name, (service, look) in LOOKS.items()}
    iot, zones = aws("iot"), aws("route53").list_hosted_zones()["HostedZones"]
    found["rules"] = {
        text(iot.get_topic_rule(ruleName=one["ruleName"])["rule"]) for one in iot.list_topic_rules()["rules"]
    }
    found["device policies"] = {
        text([one["policyName"], sorted(iot.list_targets_for_policy(policyName=one["policyName"])["targets"])])
        for one in iot.list_policies()["policies"]
    }
    found["records"] = {
        text(record) for zone in zones
        for record in aws("route53").list_resource_record_sets(HostedZoneId=zone["Id"])["ResourceRecordSets"]
    }  # fmt: skip
    objects = [one | one["metadata"] for one in kubectl("get", KINDS, "--all-namespaces")["items"]]
    found["objects"] = {
        text([one["kind"], one.get("namespace"), one["name"], one["uid"],
              # Prometheus' operator gathers the rules and monitors of all namespaces in objects of its own.
              "" if "prometheus-operator" in one.get("labels", {}).values()
              else one.get("generation") or one.get("data") or one.get("rules")])
        for one in objects
    }  # fmt: skip
    found["pods"] = {pod["metadata"]["uid"] for pod in kubectl.receivers()}
    return found


def text(value: Any) -> str:
    kept = {key: each for key, each in value.items() if key not in VOLATILE} if isinstance(value, dict) else value
    return json.dumps(kept, default=str, sort_keys=True)


def assert_verified(output: str) -> None:
    """Fail unless a run's table says that 200 of 200 readings arrived."""
    table = re.search(r"published (\d+) stored (\d+) missing (\d+) duplicates (\d+)", " ".join(output.split()))
    assert table, output[-4000:]
    assert table.groups() == ("200", "200", "0", "0")


@pytest.fixture(scope="module", name="before")
def _before(aws: Aws, kubectl: Kubectl) -> Held:
    return held(aws, kubectl)


@pytest.fixture(scope="module", name="pool")
def _pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_it_is_deployed_by_its_name_alone_while_the_first_one_runs(
    playbook: Playbook, pool: ThreadPoolExecutor, before: Held, aws: Aws, kubectl: Kubectl
) -> None:
    runs = [pool.submit(playbook, "site.yml", *options, limit=1500) for options in (STAGING, ())]
    second, first = (run.result() for run in runs)
    for recap in (second, first):
        assert recap.status == 0, recap.output[-4000:]
        assert_verified(recap.output)
        assert "Another run works on" not in recap.output
    assert "belongs to deployment iot-receiver, not staging: it is used and left" in " ".join(second.output.split())
    assert (first.changed, first.failed) == (0, 0), changed(first.output)
    tables = [recap.output.partition("Report the result")[2].partition("\nPLAY")[0] for recap in (first, second)]
    assert ["edge-1" in table for table in tables] == [True, False]
    after = held(aws, kubectl)
    assert {kind: things - after[kind] for kind, things in before.items()} == {kind: set() for kind in before}


def test_each_keeps_its_own_readings(aws: Aws, before: Held) -> None:
    rows = {
        (table, thing): aws("dynamodb").query(
            TableName=table, KeyConditionExpression="deviceId = :d", Select="COUNT",
            ExpressionAttributeValues={":d": {"S": thing}})["Count"] > 0
        for table in ("iot-readings", "staging-readings") for thing in ("iot-verify", "staging-verify")
    }  # fmt: skip
    assert [place for place, some in rows.items() if some] == [
        ("iot-readings", "iot-verify"), ("staging-readings", "staging-verify"),
    ]  # fmt: skip


def test_a_second_run_and_a_check_elsewhere_change_nothing(
    playbook: Playbook, elsewhere: Playbook, before: Held
) -> None:
    recap = playbook("site.yml", *STAGING, limit=900)
    assert (recap.status, recap.changed) == (0, 0), changed(recap.output) or recap.output[-4000:]
    assert_verified(recap.output)
    # The machine's sandbox belongs to the first checkout, which alone may change its parts.
    checked = elsewhere("site.yml", *STAGING, "--check", "--skip-tags", "sandbox")
    assert checked.status == 0, checked.output[-4000:]
    own = ("device : ", "verify : ")  # verify's key and publisher there
    assert [task for task in changed(checked.output) if not task.startswith(own)] == []


def test_it_goes_under_the_first_ones_load_and_leaves_nothing(
    playbook: Playbook, aws: Aws, kubectl: Kubectl, before: Held, tmp_path: Path
) -> None:
    with telemetry(aws, tmp_path, rate=50) as load:
        recap = playbook("playbooks/teardown.yml", *STAGING, "-e", "teardown_confirmed=staging", limit=1500)
        load.stop()
        missing, rows = load.missing(wait=30), load.rows()
    assert recap.status == 0, recap.output[-4000:]
    assert missing == []
    assert load.published > 1000
    assert set(rows.values()) == {1}
    after = held(aws, kubectl)
    assert {kind: things ^ after[kind] for kind, things in before.items()} == {kind: set() for kind in before}
    left = [ROOT / "build/123456789012/us-east-2/staging", *STATE.glob("staging*")]
    assert [str(path) for path in left if path.exists()] == []
