"""Preflight's checks of the variables that an inventory sets, each with its fix."""

import ast
import re
from typing import Any

import pytest
from ansible_collections.iotweb.deployment.plugins.filter import preflight_measurement_faults as measured
from ansible_collections.iotweb.deployment.plugins.filter.preflight_variable_faults import preflight_variable_faults

from tests.support.measurements import ACCEPTED, REFUSED
from tests.support.paths import ROOT

GOOD: dict[str, Any] = {
    "temp": {
        "attribute": "temperature",
        "type": "number",
        "required": True,
        "minimum": -40.5,
        "maximum": -1,
        "unit": "°C",
    },
    "humidity": {"type": "integer", "minimum": 0},
    "door": {"attribute": "door_open", "type": "boolean"},
    "state": {"type": "string", "max_length": 20},
    "plain": {},
}


def faults(**members: Any) -> list[str]:
    found: list[str] = measured.preflight_measurement_faults(members)
    return found


def test_every_form_of_measurement_is_accepted() -> None:
    assert faults(**GOOD) == []


@pytest.mark.parametrize("name", ["deviceId", "ts", "messageId", "iot_payload", "iot_anything"])
def test_a_member_that_messages_use_is_refused(name: str) -> None:
    [fault] = faults(**{name: {"attribute": "mine"}})
    assert fault.startswith(f"measurements.{name} is a member that messages use")
    assert "Rename" in fault


@pytest.mark.parametrize(
    "attribute", ["deviceId", "Time", "received_at", "ttl", "clock_skew_ms", "trace_id", "iot_received_at"]
)
def test_an_attribute_that_rows_use_is_refused(attribute: str) -> None:
    [fault] = faults(temp={"attribute": attribute, "type": "number"})
    assert fault.startswith(f"measurements.temp.attribute ({attribute})")


@pytest.mark.parametrize("name", ["Time", "ttl", "received_at"])
def test_a_member_whose_own_name_would_be_such_an_attribute_is_refused(name: str) -> None:
    assert len(faults(**{name: {"type": "number"}})) == 1
    assert faults(**{name: {"attribute": "mine"}}) == []


def test_two_members_of_one_attribute_are_refused() -> None:
    [fault] = faults(temp={"attribute": "t"}, t={"type": "integer"})
    assert "temp and t have the same attribute, t. Give each its own" in fault


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"type": "float"}, "type (float) must be one of number, integer, boolean, string"),
        ({"type": "boolean", "minimum": 0}, "minimum has no meaning for type boolean"),
        ({"type": "number", "max_length": 3}, "max_length has no meaning for type number"),
        ({"type": "number", "limit": 3}, "limit has no meaning"),
        ({"required": "yes"}, "required (yes) must be true or false"),
        ({"minimum": "low"}, "minimum (low) must be a number"),
        ({"minimum": True}, "minimum (True) must be a number"),
        ({"maximum": float("nan")}, "maximum (nan) must be a number"),
        ({"minimum": 3, "maximum": 2}, "minimum 3 is above maximum 2"),
        ({"type": "string", "max_length": 0}, "max_length (0) must be a whole number from 1"),
        ({"unit": 3}, "unit (3) must be text"),
        ({"attribute": ""}, "attribute () must have 1 to 64 letters"),
        ({"attribute": "9lives"}, "attribute (9lives) must have"),
        ("number", "must be a mapping"),
    ],
)
def test_what_a_measurement_cannot_be_is_refused(spec: Any, said: str) -> None:
    [fault] = faults(temp=spec)
    assert said in fault
    assert "group_vars/all/iot.yml" in fault


@pytest.mark.parametrize("value", [{}, [], None, "temp", {f"m{place}": {} for place in range(51)}])
def test_measurements_that_are_no_mapping_are_refused(value: Any) -> None:
    [fault] = measured.preflight_measurement_faults(value)
    assert "must map 1 to 50 members" in fault


@pytest.mark.parametrize("what", ACCEPTED)
def test_what_the_receiver_accepts_is_accepted(what: str) -> None:
    assert measured.preflight_measurement_faults(ACCEPTED[what]) == []


@pytest.mark.parametrize("what", REFUSED)
def test_what_the_receiver_refuses_is_refused_with_the_place_to_fix_it(what: str) -> None:
    faults = measured.preflight_measurement_faults(REFUSED[what])
    assert faults
    assert all("group_vars/all/iot.yml" in fault for fault in faults)


def test_names_are_those_that_the_receiver_refuses() -> None:
    """The receiver's libraries are not the controller's, so its constants are read from its source."""
    tree = ast.parse((ROOT / "service/iot_receiver/measurements.py").read_text())
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }

    def members(name: str) -> set[str]:
        call = constants[name]
        assert isinstance(call, ast.Call)
        return set(ast.literal_eval(call.args[0]))

    assert members("RESERVED_MEMBERS") == set(measured.RESERVED_MEMBERS)
    assert members("RESERVED_ATTRIBUTES") == set(measured.RESERVED_ATTRIBUTES)
    assert ast.literal_eval(constants["MAX_MEASUREMENTS"]) == measured.MOST
    pattern = constants["_NAME"]
    assert isinstance(pattern, ast.Call)
    assert ast.literal_eval(pattern.args[0]) == measured.NAME.pattern


SLIP = "{} is not a variable of role {}, but {} is. Rename or remove it[.]"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"iot_topc": "x"}, [SLIP.format("iot_topc", "deployment_defaults", "iot_topic")]),
        ({"receiver_replica": 2}, [SLIP.format("receiver_replica", "receiver", "receiver_replicas")]),
        (
            {"old": 1, "receiver_replicas": "two"},
            ["old is no longer a variable[.] Set new[.]", "receiver_replicas is wrong: .*two.*"],
        ),
        ({"ansible_topic": "x", "my_own": 1, "iot_topic": "a/b", "sandbox_domain": "x"}, []),
    ],
)
def test_names_and_values_are_checked_against_every_role(variables: dict[str, Any], said: list[str]) -> None:
    found = preflight_variable_faults(variables, str(ROOT / "roles"), {"old": "Set new."})
    assert len(found) == len(said)
    for fault, pattern in zip(found, said, strict=True):
        assert re.fullmatch(pattern, fault), fault
