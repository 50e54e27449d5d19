"""Two runs of one deployment keep each other out, and a run leaves no lock behind, however it ends."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.playbooks.runs import Aws, adopted, answering, run, started
from tests.support.paths import ROOT

pytestmark = pytest.mark.long
ACCOUNT = "123456789012"
NAME = "/iot-deployment/iot-receiver/run-lock"
REDRIVE = "playbooks/redrive.yml"
ELSEWHERE = {"id": "0123456789ab", "user": "ann", "host": "laptop-1", "caller": "arn:aws:iam::123456789012:user/ann",
             "playbooks": "site.yml", "since": "2026-01-31T12:00:00+00:00", "machine": "another boot", "pid": 1,
             "started": "1"}  # fmt: skip
AT_ONCE = ("-e", "preflight_lock_timeout=0")


@pytest.fixture(name="aws")
def _aws() -> Iterator[Aws]:
    with answering(ACCOUNT) as aws:
        aws.parameters = {}
        yield aws


def held(aws: Aws) -> dict[str, Any] | None:
    """Who holds the lock."""
    value = (aws.parameters or {}).get(NAME)
    return json.loads(value) if value else None


def test_a_run_of_another_machine_is_named_and_kept(aws: Aws, tmp_path: Path) -> None:
    aws.parameters = {NAME: json.dumps(ELSEWHERE)}
    variables = adopted(aws, ACCOUNT, tmp_path)
    done = run(tmp_path, REDRIVE, *AT_ONCE, variables=variables)
    assert done.status != 0
    assert (
        "ann on laptop-1 (arn:aws:iam::123456789012:user/ann), process 1, since 2026-01-31T12:00:00+00:00"
        in done.output
    )
    assert "-e preflight_lock_broken=0123456789ab" in done.output
    assert held(aws) == ELSEWHERE
    done = run(tmp_path, REDRIVE, *AT_ONCE, "-e", "preflight_lock_broken=another", variables=variables)
    assert "Another run works on iot-receiver" in done.output
    assert held(aws) == ELSEWHERE


def test_a_broken_lock_is_taken_and_a_failed_run_releases_its_own(aws: Aws, tmp_path: Path) -> None:
    aws.parameters = {NAME: json.dumps(ELSEWHERE)}
    variables = adopted(aws, ACCOUNT, tmp_path)
    done = run(tmp_path, REDRIVE, *AT_ONCE, "-e", "preflight_lock_broken=0123456789ab", variables=variables)
    assert done.status != 0
    assert "Another run works on" not in done.output
    assert aws.parameters == {}


def looking(folder: Path, *tasks: dict[str, Any], locks: bool) -> str:
    """A playbook that looks the deployment up, with or without its lock, and does tasks."""
    path = folder / f"looking-{locks}.yml"
    first = {"ansible.builtin.import_playbook": str(ROOT / "playbooks/deployment.yml"),
             "vars": {"preflight_lock_enabled": locks}}  # fmt: skip
    path.write_text(json.dumps([first, {"hosts": "provisioned", "gather_facts": False, "tasks": tasks}]))
    return str(path)


def test_a_playbook_takes_the_lock_that_one_before_it_did_without(aws: Aws, tmp_path: Path) -> None:
    aws.parameters = {NAME: json.dumps(ELSEWHERE)}
    first = looking(tmp_path, {"ansible.builtin.debug": {"msg": "first is through"}}, locks=False)
    done = run(tmp_path, first, REDRIVE, *AT_ONCE, variables=adopted(aws, ACCOUNT, tmp_path))
    assert "first is through" in done.output
    assert "Another run works on iot-receiver" in done.output
    assert done.status != 0


def test_a_lock_is_held_until_the_last_playbook_of_a_run_has_ended(aws: Aws, tmp_path: Path) -> None:
    class Things(dict[str, dict[str, str]]):
        def __contains__(self, _: object) -> bool:
            during.append(held(aws))
            return False

    during: list[dict[str, Any] | None] = []
    aws.things = Things()
    ask = {"ansible.builtin.uri": {"url": f"{aws.url}/things/any", "status_code": 400}}
    run(tmp_path, looking(tmp_path, ask, locks=True), looking(tmp_path, ask, locks=False),
        variables=adopted(aws, ACCOUNT, tmp_path))  # fmt: skip
    assert [bool(holder) for holder in during] == [True, True]
    assert held(aws) is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_releases_its_lock(number: int, aws: Aws, tmp_path: Path) -> None:
    aws.hangs = True
    with started(tmp_path, REDRIVE, variables=adopted(aws, ACCOUNT, tmp_path)) as running:
        assert aws.asked.wait(300)
        mine = held(aws)
        assert mine is not None
        assert mine["pid"] == running.pid
        assert mine["playbooks"] == REDRIVE
        os.kill(running.pid, number)
        running.wait(timeout=60)
    assert held(aws) is None


def test_the_second_of_two_runs_is_refused_until_the_first_is_dead(aws: Aws, tmp_path: Path) -> None:
    aws.hangs = True
    with started(tmp_path, REDRIVE, variables=adopted(aws, ACCOUNT, tmp_path)) as first:
        assert aws.asked.wait(300)
        mine = held(aws)
        variables = adopted(aws, ACCOUNT, tmp_path)
        refused = run(tmp_path, REDRIVE, *AT_ONCE, variables=variables)
        assert f"on {socket.gethostname()}" in refused.output
        assert f"process {first.pid}" in refused.output
        first.send_signal(signal.SIGSTOP)  # or it would end now
        aws.hangs = False
        checked = run(tmp_path, REDRIVE, *AT_ONCE, "--check", variables=variables)
        assert "Another run works on" not in checked.output, "it only looks"
        first.kill()
        first.wait()
        assert held(aws) == mine, "nothing could release it"
        after = run(tmp_path, REDRIVE, *AT_ONCE, variables=variables)
        assert "Another run works on" not in after.output
    assert held(aws) is None


def test_a_run_that_nothing_would_release_is_refused(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.playbooks.runs.SETTINGS", {"ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.profile_tasks"})
    done = run(tmp_path, REDRIVE, variables=adopted(aws, ACCOUNT, tmp_path))
    assert "add iotweb.deployment.run_lock to callbacks_enabled" in done.output
    assert aws.parameters == {}
