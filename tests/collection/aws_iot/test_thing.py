"""Things against an emulated account, and against one whose reads lag behind its writes."""

from typing import Any

import pytest

from tests.collection.faults import Proxy
from tests.collection.helpers import Aws, Run, pair, prediction_holds

MODULE = "iot_thing"


def stored(aws: Aws, name: str) -> dict[str, Any]:
    """A thing as boto3 returns it, in the module's spelling."""
    seen = aws("iot").describe_thing(thingName=name)
    return {
        "thing_name": seen["thingName"],
        "thing_arn": seen["thingArn"],
        "thing_id": seen["thingId"],
        "thing_type_name": seen.get("thingTypeName") or "",
        "attributes": seen["attributes"],
    }


def test_its_life(run: Run, aws: Aws) -> None:
    made = prediction_holds(run, MODULE, "thing", name="t1", attributes={"room": 1, "wet": True})
    assert made["thing"] == stored(aws, "t1")
    assert made["thing"]["attributes"] == {"room": "1", "wet": "true"}
    changed = prediction_holds(
        run, MODULE, "thing", name="t1", attributes={"floor": "2", "wet": ""}, purge_attributes=False
    )
    assert changed["diff"]["before"]["attributes"] == {"room": "1", "wet": "true"}
    assert changed["thing"] == stored(aws, "t1")
    assert changed["thing"]["attributes"] == {"room": "1", "floor": "2"}
    assert not prediction_holds(run, MODULE, "thing", name="t1")["changed"]
    purged = prediction_holds(run, MODULE, "thing", name="t1", attributes={})
    assert purged["thing"]["attributes"] == {} == stored(aws, "t1")["attributes"]
    assert prediction_holds(run, MODULE, "thing", name="t1", state="absent")["changed"]
    assert "t1" not in [thing["thingName"] for thing in aws("iot").list_things()["things"]]


def test_an_attribute_that_somebody_else_sets_meanwhile_stays(run: Run, aws: Aws, proxy: Proxy) -> None:
    aws("iot").create_thing(thingName="shared", attributePayload={"attributes": {"room": "1", "wet": "true"}})
    others = {"attributes": {"floor": "2"}, "merge": True}
    proxy.before("PATCH /things/shared$", lambda: aws("iot").update_thing(thingName="shared", attributePayload=others))
    asked = {"attributes": {"room": "9", "wet": ""}, "purge_attributes": False}
    changed = run(MODULE, name="shared", **asked, endpoint_url=proxy.url)
    assert changed["thing"]["attributes"] == {"room": "9", "floor": "2"} == stored(aws, "shared")["attributes"]


def test_attributes_are_text(run: Run, aws: Aws) -> None:
    made = prediction_holds(run, MODULE, "thing", name="texts", attributes={"a": None, "b": 0, "c": False, "d": ""})
    assert made["thing"]["attributes"] == {"b": "0", "c": "false"} == stored(aws, "texts")["attributes"]
    for attributes, words in (
        ({"a": ["x"]}, "attributes.a is a list or a mapping"),
        ({"a": {"b": "c"}}, "attributes.a is a list or a mapping"),
        ({"k k": "v"}, "name k k must match"),
        ({"k": "v" * 801}, "no more than 800"),
    ):
        for check in (True, False):
            assert words in run(MODULE, name="texts", attributes=attributes, check=check)["msg"]
    assert stored(aws, "texts")["attributes"] == {"b": "0", "c": "false"}


def test_its_type(run: Run, aws: Aws) -> None:
    iot = aws("iot")
    iot.create_thing_type(thingTypeName="gauge")
    made = prediction_holds(run, MODULE, "thing", name="typed", thing_type_name="gauge")
    assert made["thing"] == stored(aws, "typed")
    assert not run(MODULE, name="typed", attributes={})["changed"]
    assert prediction_holds(run, MODULE, "thing", name="typed", thing_type_name="")["changed"]
    assert stored(aws, "typed")["thing_type_name"] == ""
    refused = run(MODULE, name="typed", thing_type_name="unheard", wait=False)
    assert "no thing type unheard" in refused["msg"]
    iot.deprecate_thing_type(thingTypeName="gauge")
    for check in (True, False):
        assert "deprecated" in run(MODULE, name="typed", thing_type_name="gauge", check=check)["msg"]


def test_one_with_a_certificate_is_not_deleted_unasked(run: Run) -> None:
    run(MODULE, name="t2")
    issued = run("iot_certificate", thing_name="t2", csr=pair()[0])["certificate"]
    for check in (True, False):
        refused = run(MODULE, name="t2", state="absent", check=check)
        assert issued["certificate_arn"] in refused["msg"]
        assert "detach_principals" in refused["msg"]
    assert prediction_holds(run, MODULE, "thing", name="t2", state="absent", detach_principals=True)["changed"]


@pytest.mark.parametrize("name", ["a" * 129, "with space", "umlaut-ä"])
def test_names_are_the_apis(run: Run, name: str) -> None:
    for check in (True, False):
        refused = run(MODULE, name=name, check=check)
        assert "create_thing would fail" in refused["msg"]
        assert "128" in refused["msg"]


def test_it_is_returned_once_reads_show_it(run: Run, aws: Aws, proxy: Proxy) -> None:
    proxy.refuse("GET /things/late$", "ResourceNotFoundException", times=3, status=404)
    made = run(MODULE, name="late", attributes={"a": "1"}, endpoint_url=proxy.url)
    assert made["thing"] == stored(aws, "late")
    assert proxy.count("GET /things/late$") == 4
    proxy.lag("GET /things/late$", times=3)
    changed = run(MODULE, name="late", attributes={"a": "2"}, endpoint_url=proxy.url)
    assert changed["thing"] == stored(aws, "late")
    assert changed["thing"]["attributes"] == {"a": "2"}


def test_one_that_never_shows_is_a_failure(run: Run, proxy: Proxy) -> None:
    proxy.refuse("GET /things/never$", "ResourceNotFoundException", times=99, status=404)
    failed = run(MODULE, name="never", wait_timeout=1, endpoint_url=proxy.url)
    assert "thing never after 1 s" in failed["msg"]
    proxy.faults.clear()
    proxy.lag("GET /things/never$", 0)
    run(MODULE, name="never", endpoint_url=proxy.url)
    proxy.lag("GET /things/never$", times=99)
    failed = run(MODULE, name="never", state="absent", wait_timeout=1, endpoint_url=proxy.url)
    assert "still shows thing never" in failed["msg"]


def test_without_wait_nothing_is_read_again(run: Run, proxy: Proxy) -> None:
    made = run(MODULE, name="hasty", wait=False, endpoint_url=proxy.url)
    assert proxy.count("GET /things/hasty$") == 1
    assert made["thing"]["thing_arn"].endswith(":thing/hasty")


def test_one_that_another_run_makes_meanwhile_is_changed(run: Run, aws: Aws, proxy: Proxy) -> None:
    other = {"thingName": "raced", "attributePayload": {"attributes": {"a": "other"}}}
    proxy.before("POST /things/raced$", lambda: aws("iot").create_thing(**other))
    made = run(MODULE, name="raced", attributes={"a": "1"}, endpoint_url=proxy.url)
    assert made["changed"]
    assert made["thing"] == stored(aws, "raced")
    assert made["thing"]["attributes"] == {"a": "1"}


@pytest.mark.parametrize(
    ("code", "status"),
    [("ThrottlingException", 429), ("InternalFailureException", 500), ("ServiceUnavailableException", 503)],
)
def test_passing_errors_are_tried_again(run: Run, aws: Aws, proxy: Proxy, code: str, status: int) -> None:
    name = f"busy-{status}"
    proxy.refuse(f"POST /things/{name}$", code, times=2, status=status)
    assert run(MODULE, name=name, endpoint_url=proxy.url)["thing"] == stored(aws, name)
    assert proxy.count(f"POST /things/{name}$") == 3


def test_detachment_and_deletion_stand_being_late(run: Run, aws: Aws, proxy: Proxy) -> None:
    run(MODULE, name="held")
    run("iot_certificate", thing_name="held", csr=pair()[0])
    message = "Thing held is still attached to one or more principals"
    proxy.refuse("DELETE /things/held$", "InvalidRequestException", times=2, message=message)
    gone = run(MODULE, name="held", state="absent", detach_principals=True, endpoint_url=proxy.url)
    assert gone["changed"]
    proxy.refuse("DELETE /things/other$", "InvalidRequestException", message="something else")
    run(MODULE, name="other")
    assert "delete_thing of other failed" in run(MODULE, name="other", state="absent", endpoint_url=proxy.url)["msg"]
    proxy.before("DELETE /things/other$", lambda: aws("iot").delete_thing(thingName="other"))
    assert run(MODULE, name="other", state="absent", endpoint_url=proxy.url)["changed"]


def test_denial_names_the_permission(run: Run, proxy: Proxy) -> None:
    proxy.refuse("POST /things/denied$", "UnauthorizedException", times=9, status=401)
    failed = run(MODULE, name="denied", endpoint_url=proxy.url)
    assert "create_thing of denied failed" in failed["msg"]
    assert "iot:CreateThing" in failed["msg"]
