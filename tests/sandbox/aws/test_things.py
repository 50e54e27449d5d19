"""Things of AWS IoT: created once, changed in numbered versions."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.sandbox.aws.emulator import Emulator


@pytest.fixture(name="iot")
def _iot(aws: Emulator) -> Any:
    return aws.client("iot")


def test_the_same_thing_again_is_the_thing_there_is(iot: Any) -> None:
    wanted = {"thingName": "same", "attributePayload": {"attributes": {"room": "1"}}}
    assert iot.create_thing(**wanted)["thingId"] == iot.create_thing(**wanted)["thingId"]


@pytest.mark.parametrize(
    "other", [{"attributePayload": {"attributes": {"room": "2"}}}, {"thingTypeName": "gauge"}, {}]
)
def test_another_thing_of_that_name_is_refused(iot: Any, other: dict[str, Any]) -> None:
    iot.create_thing_type(thingTypeName="gauge")
    iot.create_thing(thingName="taken", attributePayload={"attributes": {"room": "1"}})
    with pytest.raises(ClientError) as error:
        iot.create_thing(thingName="taken", **other)
    assert error.value.response["Error"]["Code"] == "ResourceAlreadyExistsException"
    assert iot.describe_thing(thingName="taken")["attributes"] == {"room": "1"}


def test_updates_are_counted(iot: Any) -> None:
    iot.create_thing(thingName="counted")
    before = iot.describe_thing(thingName="counted")["version"]
    iot.update_thing(thingName="counted", attributePayload={"attributes": {"a": "b"}})
    assert iot.describe_thing(thingName="counted")["version"] == before + 1


def test_an_expected_version_is_checked(iot: Any) -> None:
    """https://docs.aws.amazon.com/iot/latest/apireference/API_UpdateThing.html"""
    iot.create_thing(thingName="expected")
    version = iot.describe_thing(thingName="expected")["version"]
    attributes = {"attributePayload": {"attributes": {"a": "b"}}}
    for call, more in ((iot.update_thing, attributes), (iot.delete_thing, {})):
        with pytest.raises(ClientError, match="VersionConflictException"):
            call(thingName="expected", expectedVersion=version + 1, **more)
    assert iot.describe_thing(thingName="expected")["attributes"] == {}
    iot.update_thing(thingName="expected", expectedVersion=version, **attributes)
    iot.delete_thing(thingName="expected", expectedVersion=version + 1)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        iot.describe_thing(thingName="expected")


def test_a_thing_that_is_missing_counts_as_deleted(iot: Any) -> None:
    """https://docs.aws.amazon.com/iot/latest/apireference/API_DeleteThing.html"""
    iot.delete_thing(thingName="never-made")
    iot.delete_thing(thingName="never-made", expectedVersion=3)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        iot.update_thing(thingName="never-made", attributePayload={"attributes": {}})
