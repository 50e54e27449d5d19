"""The run lock: who holds it, and from whom it is taken over."""

import json
import os
import subprocess
from typing import Any

import boto3
import pytest
from ansible_collections.iotweb.deployment.plugins.module_utils import run_lock
from ansible_collections.iotweb.deployment.plugins.module_utils.run_lock import RunLock, described, ended, record

SSM = boto3.session.Session(region_name="us-east-2").client("ssm")


class Parameters:
    """Systems Manager's parameters, as far as the lock uses them."""

    exceptions = SSM.exceptions

    def __init__(self) -> None:
        self.held: dict[str, str] = {}

    def client(self, _service: str) -> "Parameters":
        return self

    def put_parameter(self, *, Name: str, Value: str, Overwrite: bool, **_: Any) -> None:  # noqa: N803 - AWS's names
        assert not Overwrite
        if Name in self.held:
            raise self.exceptions.ParameterAlreadyExists({"Error": {"Code": "ParameterAlreadyExists"}}, "PutParameter")
        self.held[Name] = Value

    def get_parameter(self, *, Name: str) -> dict[str, Any]:  # noqa: N803 - AWS's names
        if Name not in self.held:
            raise self.exceptions.ParameterNotFound({"Error": {"Code": "ParameterNotFound"}}, "GetParameter")
        return {"Parameter": {"Value": self.held[Name]}}

    def delete_parameter(self, *, Name: str) -> None:  # noqa: N803 - AWS's names
        if Name not in self.held:
            raise self.exceptions.ParameterNotFound({"Error": {"Code": "ParameterNotFound"}}, "DeleteParameter")
        del self.held[Name]


@pytest.fixture(name="parameters")
def _parameters(monkeypatch: pytest.MonkeyPatch) -> Parameters:
    parameters = Parameters()
    monkeypatch.setattr(boto3.session, "Session", lambda **_: parameters)
    monkeypatch.setitem(run_lock.RUN, "pid", os.getpid())
    return parameters


def test_one_of_two_gets_it_and_each_deployment_has_its_own(parameters: Parameters) -> None:
    first, second = record("arn:ann", "site.yml"), record("arn:bob", "site.yml")
    assert RunLock("us-east-2", "prod").take(first) is None
    assert RunLock("us-east-2", "prod").take(second) == first
    assert RunLock("us-east-2", "staging").take(second) is None
    assert sorted(parameters.held) == ["/iot-deployment/prod/run-lock", "/iot-deployment/staging/run-lock"]


def test_only_its_own_lock_is_released(parameters: Parameters) -> None:
    lock, mine = RunLock("us-east-2", "prod"), record("", "")
    lock.take(mine)
    assert not lock.release("another")
    assert parameters.held
    assert lock.release(mine["id"])
    assert not lock.release(mine["id"])
    assert not parameters.held


def dead() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("change", "is_over"),
    [
        ({}, False),
        ({"started": "1"}, True),  # another process has its number now
        ({"machine": "another boot"}, False),
        ({"machine": ""}, False),
    ],
)
def test_a_run_has_ended_only_if_this_machine_knows(
    change: dict[str, Any], is_over: bool, parameters: Parameters
) -> None:
    holder = record("", "") | change
    assert ended(holder) is is_over
    lock, mine = RunLock("us-east-2", "prod"), record("", "")
    parameters.held[lock.name] = json.dumps(holder)
    assert lock.take(mine) == (None if is_over else holder)
    assert json.loads(parameters.held[lock.name])["id"] == (mine if is_over else holder)["id"]


def test_the_lock_of_a_killed_run_is_taken_over(parameters: Parameters) -> None:
    lock = RunLock("us-east-2", "prod")
    parameters.held[lock.name] = json.dumps(record("", "") | {"pid": dead()})
    assert lock.take(record("", "")) is None


def test_a_parameter_that_is_no_lock_is_shown_and_can_be_broken(parameters: Parameters) -> None:
    lock, mine = RunLock("us-east-2", "prod"), record("", "")
    parameters.held[lock.name] = "something else"
    holder = lock.take(mine)
    assert holder == {"id": "something else"}
    assert described(holder) == "? on ? (?), process ?, since ?, running ?"
    assert lock.release("something else")
    assert lock.take(mine) is None
