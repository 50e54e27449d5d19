"""A used deployment is taken down: not while a dead letter is left, and then without a trace. Then it is made anew.

For `make torn-down`; what other tests have left in the sandbox is what makes it used.
"""

import json
import re
import subprocess

from tests.support.ansible import environment
from tests.support.paths import ROOT
from tests.torn_down.account import LOOKS, aws

CONFIRMED = ("-e", "teardown_confirmed=iot-receiver")


def run(playbook: str, *arguments: str) -> tuple[int, str]:
    """Run a playbook without a terminal that could answer; return its status and output."""
    done = subprocess.run(
        ["ansible-playbook", playbook, *arguments],
        cwd=ROOT, env=environment(), text=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=900, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def teardown(*arguments: str) -> tuple[int, str]:
    return run("playbooks/teardown.yml", *arguments)


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


def test_nothing_is_done_without_being_asked_for() -> None:
    before = held()
    status, output = teardown("-e", "teardown_confirmed=iot-receivers")
    assert status != 0
    assert "Nothing was removed" in output
    assert held() == before
    assert forwards()


def test_a_dry_run_shows_what_would_go_and_does_nothing() -> None:
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


def test_with_a_dead_letter_left_it_refuses_and_says_how_many() -> None:
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


def test_it_comes_to_its_end() -> None:
    status, output = teardown(*CONFIRMED, "-e", "dead_letters_dropped=true")
    assert status == 0, output[-4000:]
    assert "The deployment is gone" in output


def test_nothing_is_left_in_the_account() -> None:
    assert held() == dict.fromkeys(LOOKS, 0)
    assert [zone["Name"] for zone in aws("route53").list_hosted_zones()["HostedZones"]] == ["sandbox.test."]


def test_site_makes_it_anew() -> None:
    status, output = run("site.yml")
    assert status == 0, output[-4000:]
    told = re.search(r"published (\d+) stored (\d+) missing (\d+) duplicates (\d+)", " ".join(output.split()))
    assert told, output[-4000:]
    assert told.groups() == ("200", "200", "0", "0")
    assert forwards()
