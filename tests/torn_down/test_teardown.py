"""A used deployment is taken down: not while a dead letter is left, and then without a trace. Then it is made anew.

For `make torn-down`; what other tests have left in the sandbox is what makes it used. Everything is done by an operator
who may do what the generated policies allow and nothing else; each of these rights is used or explained.
"""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deployment.colleague import Operator, called, limited, policies
from tests.deployment.rights import without
from tests.support.ansible import environment
from tests.support.operator import CALLS, allowed, unseen
from tests.support.paths import ROOT
from tests.torn_down.account import ENDPOINT, LOOKS, aws

CONFIRMED = ("-e", "teardown_confirmed=iot-receiver")
INVENTORY = ROOT / "inventory/sandbox/group_vars/all/terraform.yml"
OPTIONS = {"cluster_addons": {"vpc-cni": {}}, "cluster_admin_arns": ["arn:aws:iam::123456789012:role/another"],
           "table_limits": {"writes": 2000}, "node_count": {"min": 2, "max": 3, "desired": 2}}  # fmt: skip
Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module", name="operator")
def _operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """Who may use all options of the stack, so that a run with some and one without are allowed."""
    folder = tmp_path_factory.mktemp("operator")
    with limited(aws, "operator", policies(folder, terraform_variables=stack()), folder) as made:
        yield made


def stack() -> dict[str, Any]:
    """The sandbox's variables of the stack, changed."""
    variables: dict[str, Any] = yaml.safe_load(INVENTORY.read_text())["terraform_variables"]
    return variables | OPTIONS


@pytest.fixture(scope="module", name="run")
def _run(operator: Operator) -> Run:
    """Runs a playbook without a terminal that could answer; returns its status and output."""

    def run(playbook: str, *arguments: str) -> tuple[int, str]:
        command = ["ansible-playbook", playbook, *arguments, *operator.options]
        done = subprocess.run(command, cwd=ROOT, env=environment(), text=True, stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=900, check=False)  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture(scope="module", name="teardown")
def _teardown(run: Run) -> Run:
    return lambda *arguments: run("playbooks/teardown.yml", *arguments)


def held() -> dict[str, int]:
    """The number of each kind in the account."""
    return {name: len(look(aws(service))) for name, (service, look) in LOOKS.items()}


def letters() -> int:
    """Dead letters on all queues, including those that a redrive has received and that SQS hides for a while."""
    sqs = aws("sqs")
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return sum(
        int(number) for url in sqs.list_queues()["QueueUrls"]
        for number in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()
    )  # fmt: skip


def forwards() -> bool:
    """Whether the rule is enabled."""
    return not aws("iot").get_topic_rule(ruleName="forward_to_alb")["rule"]["ruleDisabled"]


@pytest.mark.parametrize("playbook", [["site.yml"], ["site.yml", "--check", "--diff"], ["playbooks/rotate_secret.yml"],
                                      ["playbooks/redrive.yml"], ["playbooks/status.yml"],
                                      ["playbooks/acceptance.yml"]], ids=" ".join)  # fmt: skip
def test_the_operator_may_work_on_it(playbook: list[str], run: Run) -> None:
    status, output = run(*playbook)
    assert status == 0, output[-4000:]


def test_the_operator_may_change_it(run: Run, tmp_path: Path) -> None:
    """Add-ons, administrators, limits; policy and rule, by their topic."""
    (tmp_path / "changed.json").write_text(json.dumps({"terraform_variables": stack(), "iot_topic": "things/readings"}))
    status, output = run("site.yml", "--tags", "terraform,iot_core", "-e", f"@{tmp_path}/changed.json")
    assert status == 0, output[-4000:]
    assert re.search(r"Plan: [1-9]\d* to add, [1-9]", output)


def test_nothing_is_done_without_being_asked_for(teardown: Run) -> None:
    before = held()
    status, output = teardown("-e", "teardown_confirmed=iot-receivers")
    assert status != 0
    assert "Nothing was removed" in output
    assert held() == before
    assert forwards()


def test_a_dry_run_shows_what_would_go_and_does_nothing(teardown: Run) -> None:
    before = held()
    status, output = teardown("--check")
    assert status == 0, output[-4000:]
    for word in ("Nothing was removed: this was a check", "certificates and", "iot-verify", "edge-1"):
        assert word in output
    counts = re.search(r"Plan: 0 to add, 0 to change, (\d+) to destroy", output)
    assert counts, output[-4000:]
    assert int(counts[1]) > 20
    assert held() == before
    assert forwards()


def test_with_a_dead_letter_left_it_refuses_and_says_how_many(teardown: Run) -> None:
    sqs = aws("sqs")
    [url] = [url for url in sqs.list_queues()["QueueUrls"] if "rule" in url]
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"no": "dead letter of ours"}))
    before = held()
    status, output = teardown(*CONFIRMED)
    assert status != 0
    found = re.search(r"(\d+) dead letters are left", " ".join(output.split()))
    assert found, output[-4000:]
    assert int(found[1]) == letters() >= 1
    assert held() == before


CONTROLLER = "iot-receiver-load-balancer-controller"


def test_a_rollout_says_what_the_controller_may_not_do(run: Run) -> None:
    more = ("-e", "receiver_replicas=3", "-e", "receiver_rollout_timeout=40")
    with without(aws, CONTROLLER, "elasticloadbalancing:RegisterTargets"):
        status, output = run("site.yml", "--tags", "receiver", *more)
    assert status != 0
    assert "is not authorized to perform: elasticloadbalancing:RegisterTargets" in " ".join(output.split())


def test_it_says_what_the_controller_may_not_delete(teardown: Run) -> None:
    with without(aws, CONTROLLER, "ec2:DeleteSecurityGroup"):
        status, output = teardown(*CONFIRMED, "-e", "dead_letters_dropped=true", "-e", "receiver_removal_timeout=40")
    assert status != 0
    assert "is not authorized to perform: ec2:DeleteSecurityGroup" in " ".join(output.split())


def test_it_comes_to_its_end(teardown: Run) -> None:
    status, output = teardown(*CONFIRMED, "-e", "dead_letters_dropped=true")
    assert status == 0, output[-4000:]
    assert "The deployment is gone" in output


def test_nothing_is_left_in_the_account() -> None:
    assert held() == dict.fromkeys(LOOKS, 0)
    assert [zone["Name"] for zone in aws("route53").list_hosted_zones()["HostedZones"]] == ["sandbox.test."]


def test_site_makes_it_anew(run: Run) -> None:
    status, output = run("site.yml")
    assert status == 0, output[-4000:]
    told = re.search(r"published (\d+) stored (\d+) missing (\d+) duplicates (\d+)", " ".join(output.split()))
    assert told, output[-4000:]
    assert told.groups() == ("200", "200", "0", "0")
    assert forwards()


def test_each_right_of_the_operator_was_used_or_is_explained(operator: Operator) -> None:
    seen = called(ENDPOINT, operator.arn).keys() - {"sts:GetCallerIdentity"}  # which no policy can forbid
    (ROOT / "build/test").mkdir(parents=True, exist_ok=True)
    (ROOT / "build/test" / CALLS.name).write_text(json.dumps(sorted(seen), indent=2) + "\n")
    assert seen & unseen() == set(), "these occur in the sandbox: take them out of tests/support/operator.py"
    assert seen - set(json.loads(CALLS.read_text())) == set(), f"add them to {CALLS.relative_to(ROOT)}"
    assert seen <= allowed()
