"""Policies against an emulated account: versions, targets, tags, and other runs at the same time."""

import json
from typing import Any

import pytest

from tests.collection.faults import Proxy
from tests.collection.helpers import Aws, Run, document, prediction_holds

MODULE = "iot_policy"


def stored(aws: Aws, name: str) -> dict[str, Any]:
    """A policy as boto3 returns it, in the module's spelling."""
    iot = aws("iot")
    seen = iot.get_policy(policyName=name)
    tags = iot.list_tags_for_resource(resourceArn=seen["policyArn"])["tags"]
    return {
        "policy_name": seen["policyName"],
        "policy_arn": seen["policyArn"],
        "default_version_id": seen["defaultVersionId"],
        "document": json.loads(seen["policyDocument"]),
        "targets": sorted(iot.list_targets_for_policy(policyName=name)["targets"]),
        "tags": {tag["Key"]: tag["Value"] for tag in tags},
    }


def versions(aws: Aws, name: str) -> list[str]:
    held = aws("iot").list_policy_versions(policyName=name)["policyVersions"]
    return sorted(version["versionId"] for version in held)


def documents(aws: Aws, name: str) -> list[str]:
    look = aws("iot").get_policy_version
    return sorted(look(policyName=name, policyVersionId=one)["policyDocument"] for one in versions(aws, name))


def test_beyond_the_sixth_version(run: Run, aws: Aws) -> None:
    for number in range(7):
        wanted = document(f"iot:Action{number}")
        changed = prediction_holds(run, MODULE, "policy", name="p1", document=wanted)
        assert changed["changed"]
        assert changed["policy"] == stored(aws, "p1")
        assert changed["policy"]["document"] == wanted
    assert versions(aws, "p1") == ["3", "4", "5", "6", "7"]
    back = prediction_holds(run, MODULE, "policy", name="p1", document=document("iot:Action4"))
    assert back["policy"]["default_version_id"] == "5"
    sixth = run(MODULE, name="p1", document=document("iot:New"))
    assert sixth["policy"]["default_version_id"] == "8"
    assert versions(aws, "p1") == ["4", "5", "6", "7", "8"]  # the oldest went, not the default one before
    assert prediction_holds(run, MODULE, "policy", name="p1", state="absent")["changed"]
    assert "p1" not in [policy["policyName"] for policy in aws("iot").list_policies()["policies"]]


@pytest.mark.parametrize(
    "same",
    [
        json.dumps(document("iot:Connect", "iot:Publish")),
        json.dumps(document("iot:Publish", "iot:Connect"), indent=4),
        {**document("iot:Connect", "iot:Publish"), "Statement": document("iot:Connect", "iot:Publish")["Statement"][0]},
    ],
)
def test_the_same_meaning_is_no_change(run: Run, aws: Aws, same: Any) -> None:
    run(MODULE, name="p2", document=document("iot:Connect", "iot:Publish"))
    again = run(MODULE, name="p2", document=same)
    assert not again["changed"]
    assert again["policy"] == stored(aws, "p2")
    assert versions(aws, "p2") == ["1"]


def test_tags(run: Run, aws: Aws) -> None:
    tagged = {"name": "p3", "document": document("iot:Connect")}
    made = prediction_holds(run, MODULE, "policy", **tagged, tags={"team": "water", "floor": 3})
    assert made["policy"] == stored(aws, "p3")
    assert made["policy"]["tags"] == {"team": "water", "floor": "3"}
    assert not run(MODULE, **tagged)["changed"]
    added = prediction_holds(run, MODULE, "policy", **tagged, tags={"team": "air"}, purge_tags=False)
    assert added["policy"]["tags"] == {"team": "air", "floor": "3"} == stored(aws, "p3")["tags"]
    purged = prediction_holds(run, MODULE, "policy", **tagged, tags={})
    assert purged["policy"]["tags"] == {} == stored(aws, "p3")["tags"]


def test_targets(run: Run, aws: Aws) -> None:
    iot = aws("iot")
    groups = [iot.create_thing_group(thingGroupName=name)["thingGroupArn"] for name in ("pumps", "valves")]
    attached = {"name": "p4", "document": document("iot:Connect")}
    made = prediction_holds(run, MODULE, "policy", **attached, targets=groups[:1])
    assert made["policy"] == stored(aws, "p4")
    added = prediction_holds(run, MODULE, "policy", **attached, targets=groups[1:])
    assert added["policy"]["targets"] == sorted(groups) == stored(aws, "p4")["targets"]
    for check in (True, False):
        refused = run(MODULE, name="p4", state="absent", check=check)
        assert "2 target" in refused["msg"]
        assert "detach_targets" in refused["msg"]
    purged = prediction_holds(run, MODULE, "policy", **attached, targets=[groups[0]], purge_targets=True)
    assert purged["policy"]["targets"] == groups[:1] == stored(aws, "p4")["targets"]
    assert prediction_holds(run, MODULE, "policy", name="p4", state="absent", detach_targets=True)["changed"]
    assert iot.list_attached_policies(target=groups[0])["policies"] == []


def test_a_target_that_is_not_there_is_named(run: Run) -> None:
    missing = f"arn:aws:iot:us-east-2:123456789012:cert/{'0' * 64}"
    refused = run(MODULE, name="p5", document=document("a"), targets=[missing], wait_timeout=1)
    assert "attach_policy of p5 and" in refused["msg"]
    assert missing in refused["msg"]


@pytest.mark.parametrize(
    ("faulty", "words"),
    [
        ({"document": "nonsense"}, "no JSON object"),
        ({"document": "[1, 2]"}, "no JSON object"),
        ({"document": {}}, "no statements"),
        ({"document": {"Version": "2012-10-17", "Statement": None}}, "no statements"),
        ({"document": document("a"), "targets": ["nonsense"]}, "targets has nonsense, which is no ARN"),
        ({"document": document("a"), "tags": {"a": [1]}}, "tags.a is a list or a mapping"),
    ],
)
def test_faulty_options_are_refused_in_both_modes(run: Run, faulty: dict[str, Any], words: str) -> None:
    for check in (True, False):
        assert words in run(MODULE, name="p6", **faulty, check=check)["msg"]


def test_a_document_that_aws_refuses_is_named(run: Run, proxy: Proxy) -> None:
    proxy.refuse("POST /policies/p6$", "MalformedPolicyException")
    refused = run(MODULE, name="p6", document=document("a"), endpoint_url=proxy.url)
    assert "create_policy of p6 failed. Correct the document" in refused["msg"]


def test_one_that_another_run_makes_meanwhile_is_changed(run: Run, aws: Aws, proxy: Proxy) -> None:
    other = {"policyName": "p7", "policyDocument": json.dumps(document("iot:Other"))}
    proxy.before("POST /policies/p7$", lambda: aws("iot").create_policy(**other))
    made = run(MODULE, name="p7", document=document("iot:Mine"), tags={"a": "b"}, endpoint_url=proxy.url)
    assert made["policy"] == stored(aws, "p7")
    assert made["policy"]["document"] == document("iot:Mine")
    assert made["policy"]["tags"] == {"a": "b"}


def test_room_that_another_run_takes_is_made_again(run: Run, aws: Aws, proxy: Proxy) -> None:
    for number in range(5):
        run(MODULE, name="p8", document=document(f"iot:Action{number}"), wait=False)

    def version_of_another_run() -> None:
        aws("iot").create_policy_version(policyName="p8", policyDocument=json.dumps(document("iot:Other")))

    proxy.before("POST /policies/p8/version$", version_of_another_run)
    made = run(MODULE, name="p8", document=document("iot:Mine"), endpoint_url=proxy.url)
    assert made["policy"] == stored(aws, "p8")
    assert made["policy"]["document"] == document("iot:Mine")
    assert versions(aws, "p8") == ["3", "4", "5", "6", "7"]


def test_a_version_is_returned_once_reads_show_it(run: Run, aws: Aws, proxy: Proxy) -> None:
    run(MODULE, name="p9", document=document("iot:One"), endpoint_url=proxy.url)
    proxy.lag("GET /policies/p9$", times=3)
    changed = run(MODULE, name="p9", document=document("iot:Two"), endpoint_url=proxy.url)
    assert changed["policy"] == stored(aws, "p9")
    assert changed["policy"]["default_version_id"] == "2"


def test_a_refused_document_costs_no_version(run: Run, aws: Aws, proxy: Proxy) -> None:
    for number in range(5):
        run(MODULE, name="p11", document=document(f"iot:Action{number}"), wait=False)
    before = documents(aws, "p11")
    proxy.refuse("POST /policies/p11/version$", "MalformedPolicyException")
    refused = run(MODULE, name="p11", document=document("iot:Bad"), endpoint_url=proxy.url)
    assert "Version 1, removed to make room, is back under another number" in refused["msg"]
    assert documents(aws, "p11") == before
    assert stored(aws, "p11")["default_version_id"] == "5"


def test_deletion_waits_the_five_minutes_that_detachments_take(
    run: Run, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(MODULE, name="p12", document=document("a"))
    proxy.refuse("DELETE /policies/p12$", "DeleteConflictException", times=30, status=409)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    assert run(MODULE, name="p12", state="absent", wait_timeout=0, endpoint_url=proxy.url)["changed"]
    assert proxy.count("DELETE /policies/p12$") == 31


def test_deletion_waits_for_detachments_to_spread(run: Run, proxy: Proxy) -> None:
    run(MODULE, name="p10", document=document("a"))
    proxy.refuse("DELETE /policies/p10$", "DeleteConflictException", times=2, status=409)
    assert run(MODULE, name="p10", state="absent", endpoint_url=proxy.url)["changed"]
    assert proxy.count("DELETE /policies/p10$") == 3
