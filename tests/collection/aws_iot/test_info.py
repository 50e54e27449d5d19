"""The info modules agree with boto3, and find what is asked for."""

import datetime as dt
import json
from typing import Any

import pytest

from tests.collection.aws_iot.test_rule import stored
from tests.collection.faults import Proxy
from tests.collection.helpers import Aws, Run, document, pair


def instant(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat()


def test_things(run: Run, aws: Aws) -> None:
    iot = aws("iot")
    iot.create_thing_type(thingTypeName="probe")
    iot.create_billing_group(billingGroupName="bill")
    iot.create_thing(thingName="i1", thingTypeName="probe", billingGroupName="bill")
    iot.create_thing(thingName="i2", attributePayload={"attributes": {"room": "i"}})
    issued = run("iot_certificate", thing_name="i1", csr=pair()[0])["certificate"]
    for name in ("i1", "i2"):
        (found,) = run("iot_thing_info", name=name)["things"]
        seen = iot.describe_thing(thingName=name)
        assert found == {
            "thing_name": seen["thingName"],
            "thing_arn": seen["thingArn"],
            "thing_id": seen["thingId"],
            "thing_type_name": seen.get("thingTypeName", ""),
            "attributes": seen["attributes"],
            "billing_group_name": seen.get("billingGroupName", ""),
            "version": seen["version"],
            "principals": iot.list_thing_principals(thingName=name)["principals"],
        }
    assert run("iot_thing_info", name="i1")["things"][0]["principals"] == [issued["certificate_arn"]]
    for options, names in (
        ({"thing_type_name": "probe"}, ["i1"]),
        ({"attribute_name": "room", "attribute_value": "i"}, ["i2"]),
        ({"name": "none"}, []),
    ):
        assert [thing["thing_name"] for thing in run("iot_thing_info", **options)["things"]] == names
    everything = [thing["thing_name"] for thing in run("iot_thing_info", check=True)["things"]]
    assert {"i1", "i2"} <= set(everything)
    assert everything == sorted(everything)


def test_certificates(run: Run, aws: Aws) -> None:
    iot = aws("iot")
    iot.create_thing(thingName="i3")
    iot.create_policy(policyName="i3", policyDocument=json.dumps(document("a")))
    number = run("iot_certificate", thing_name="i3", csr=pair()[0], policies=["i3"])["certificate"]["certificate_id"]
    (found,) = run("iot_certificate_info", certificate_id=number)["certificates"]
    seen = iot.describe_certificate(certificateId=number)["certificateDescription"]
    assert found == {
        "certificate_id": seen["certificateId"],
        "certificate_arn": seen["certificateArn"],
        "certificate_pem": seen["certificatePem"],
        "status": seen["status"],
        "things": ["i3"],
        "policies": ["i3"],
        "ca_certificate_id": seen.get("caCertificateId", ""),
        "creation_date": instant(seen["creationDate"]),
        "not_before": instant(seen["validity"]["notBefore"]),
        "not_after": instant(seen["validity"]["notAfter"]),
    }
    assert run("iot_certificate_info", thing_name="i3")["certificates"] == [found]
    assert found in run("iot_certificate_info", status="ACTIVE")["certificates"]
    assert run("iot_certificate_info", thing_name="i3", status="REVOKED")["certificates"] == []
    assert run("iot_certificate_info", certificate_id="0" * 64)["certificates"] == []
    assert len(run("iot_certificate_info")["certificates"]) == len(iot.list_certificates()["certificates"])


def test_policies(run: Run, aws: Aws) -> None:
    iot = aws("iot")
    for action in ("iot:One", "iot:Two"):
        run("iot_policy", name="i4", document=document(action), tags={"a": "b"})
    (found,) = run("iot_policy_info", name="i4")["policies"]
    seen = iot.get_policy(policyName="i4")
    held = iot.list_policy_versions(policyName="i4")["policyVersions"]
    assert found == {
        "policy_name": seen["policyName"],
        "policy_arn": seen["policyArn"],
        "default_version_id": seen["defaultVersionId"],
        "document": json.loads(seen["policyDocument"]),
        "versions": [
            {"version_id": one["versionId"], "is_default": one["isDefaultVersion"],
             "creation_date": instant(one["createDate"])}
            for one in sorted(held, key=lambda one: -int(one["versionId"]))
        ],
        "targets": [],
        "tags": {"a": "b"},
    }  # fmt: skip
    assert [version["version_id"] for version in found["versions"]] == ["2", "1"]
    assert found in run("iot_policy_info")["policies"]
    assert run("iot_policy_info", name="none")["policies"] == []


def test_rules(run: Run, aws: Aws) -> None:
    iot = aws("iot")
    url = "https://localhost:1/info"
    run("iot_topic_rule", name="i5", sql="SELECT * FROM 'info/+'", actions=[{"http": {"url": url}}], tags={"a": "b"})
    (found,) = run("iot_topic_rule_info", name="i5")["rules"]
    created = instant(iot.get_topic_rule(ruleName="i5")["rule"]["createdAt"])
    assert found == stored(aws, "i5") | {"error_action": None, "created_at": created, "tags": {"a": "b"}}
    assert run("iot_topic_rule_info", topic="info/+")["rules"] == [found]
    assert found in run("iot_topic_rule_info", enabled=True)["rules"]
    assert found not in run("iot_topic_rule_info", enabled=False)["rules"]
    assert run("iot_topic_rule_info", name="none")["rules"] == []
    (destination,) = run("iot_topic_rule_destination_info", confirmation_url=url)["destinations"]
    told = iot.get_topic_rule_destination(arn=destination["arn"])["topicRuleDestination"]
    assert destination | {"status": told["status"], "status_reason": told.get("statusReason", "")} == {
        "arn": told["arn"],
        "confirmation_url": told["httpUrlProperties"]["confirmationUrl"],
        "status": told["status"],
        "status_reason": told.get("statusReason", ""),
        "created_at": instant(told["createdAt"]),
        "last_updated_at": destination["last_updated_at"],
    }
    listed = run("iot_topic_rule_destination_info")["destinations"]
    assert len(listed) == len(iot.list_topic_rule_destinations()["destinationSummaries"])
    (by_arn,) = run("iot_topic_rule_destination_info", arn=destination["arn"])["destinations"]
    assert by_arn["confirmation_url"] == url
    assert run("iot_topic_rule_destination_info", confirmation_url=url, status="DISABLED")["destinations"] == []


def test_endpoint(run: Run, aws: Aws) -> None:
    seen = aws("iot").describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"]
    assert run("iot_endpoint_info")["endpoint_address"] == seen


@pytest.mark.parametrize(
    ("module", "call"),
    [
        ("iot_thing_info", "GET /things$"),
        ("iot_certificate_info", "GET /certificates$"),
        ("iot_policy_info", "GET /policies$"),
        ("iot_topic_rule_info", "GET /rules$"),
        ("iot_topic_rule_destination_info", "GET /destinations$"),
        ("iot_endpoint_info", "GET /endpoint$"),
    ],
)
def test_throttling_is_waited_out_and_denial_named(run: Run, proxy: Proxy, module: str, call: str) -> None:
    proxy.refuse(call, "ThrottlingException", times=1, status=429)
    found: dict[str, Any] = run(module, endpoint_url=proxy.url)
    assert not found["changed"]
    assert proxy.count(call) == 2
    proxy.refuse(call, "AccessDeniedException", times=9, status=403)
    assert "Allow the caller iot:" in run(module, endpoint_url=proxy.url)["msg"]
