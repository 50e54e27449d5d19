"""A deployment that was used is taken down: not while a dead letter is left, and then without a trace.

The last that is done to the sandbox of `make test`: what the other tests have left in it is what makes it used.
"""

import json
import os
import re
import subprocess
from pathlib import Path

from account import LOOKS, aws

ROOT = Path(__file__).resolve().parents[2]


def teardown(*arguments: str) -> tuple[int, str]:
    """Run the playbook as a person would who has nobody to answer; status and output."""
    environment = os.environ | {"PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(
        ["ansible-playbook", "playbooks/teardown.yml", *arguments],
        cwd=ROOT, env=environment, text=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=600, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def held() -> dict[str, int]:
    """How many of each there are in the account."""
    return {name: len(look(aws(service))) for name, (service, look) in LOOKS.items()}


def test_nothing_is_done_without_being_asked_for() -> None:
    before = held()
    status, output = teardown("-e", "teardown_confirmed=iot-receivers")
    assert status != 0
    assert "Nothing was removed" in output
    assert held() == before


def test_with_a_dead_letter_left_it_refuses_and_says_how_many() -> None:
    sqs = aws("sqs")
    [url] = [url for url in sqs.list_queues()["QueueUrls"] if "rule" in url]
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"no": "dead letter of ours"}))
    before = held()
    status, output = teardown("-e", "teardown_confirmed=iot-receiver")
    assert status != 0
    found = re.search(r"(\d+) dead letters are left", " ".join(output.split()))
    assert found, output[-4000:]
    assert int(found[1]) >= 1
    assert held() == before


def test_it_comes_to_its_end() -> None:
    status, output = teardown("-e", "teardown_confirmed=iot-receiver", "-e", "receiver_dead_letters_dropped=true")
    assert status == 0, output[-4000:]
    assert "The deployment is gone" in output


def test_nothing_is_left_in_the_account() -> None:
    assert held() == dict.fromkeys(LOOKS, 0)
    assert [zone["Name"] for zone in aws("route53").list_hosted_zones()["HostedZones"]] == ["sandbox.test."]
