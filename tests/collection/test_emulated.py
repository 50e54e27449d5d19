"""The modules against an emulated account: create, again, change, check mode's prediction, absent, absent again."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from test_pure import pair

Run = Callable[..., dict[str, Any]]
Aws = Callable[[str], Any]


def prediction_holds(run: Run, module: str, result: str, **options: Any) -> dict[str, Any]:
    """Run a module in check mode, then really, then again; return the real result."""
    predicted = run(module, check=True, **options)
    real = run(module, **options)
    again = run(module, **options)
    assert not real.get("failed"), real["msg"]
    assert predicted["changed"] is real["changed"]
    for name, value in predicted[result].items():
        assert real[result][name] == value, name
    assert again["changed"] is False
    assert again[result] == real[result]
    assert again["diff"]["before"] == again["diff"]["after"]
    return real


def test_thing(run: Run, aws: Aws) -> None:
    assert prediction_holds(run, "iot_thing", "thing", name="t1", attributes={"room": "1"})["changed"]
    changed = prediction_holds(
        run, "iot_thing", "thing", name="t1", attributes={"floor": "2"}, purge_attributes=False
    )
    assert changed["diff"]["before"]["attributes"] == {"room": "1"}
    seen = aws("iot").describe_thing(thingName="t1")
    assert seen["attributes"] == {"room": "1", "floor": "2"} == changed["thing"]["attributes"]
    assert seen["thingArn"] == changed["thing"]["thing_arn"]
    assert prediction_holds(run, "iot_thing", "thing", name="t1", state="absent")["changed"]
    assert "t1" not in [thing["thingName"] for thing in aws("iot").list_things()["things"]]


def test_thing_with_a_certificate_is_not_deleted_unasked(run: Run) -> None:
    run("iot_thing", name="t2")
    issued = run("iot_certificate", thing_name="t2", csr=pair()[0])["certificate"]
    refused = run("iot_thing", name="t2", state="absent")
    assert refused["failed"]
    assert issued["certificate_arn"] in refused["msg"]
    assert "detach_principals" in refused["msg"]
    assert run("iot_thing", name="t2", state="absent", detach_principals=True)["changed"]
    assert not run("iot_thing", name="t2", state="absent")["changed"]


def document(action: str) -> dict[str, Any]:
    resource = "arn:aws:iot:us-east-2:123456789012:client/${iot:Connection.Thing.ThingName}"
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": [action], "Resource": resource}],
    }


def test_policy_beyond_its_sixth_version(run: Run, aws: Aws) -> None:
    for number in range(7):
        wanted = document(f"iot:Action{number}")
        assert prediction_holds(run, "iot_policy", "policy", name="p1", document=wanted)["changed"]
        assert json.loads(aws("iot").get_policy(policyName="p1")["policyDocument"]) == wanted
    held = aws("iot").list_policy_versions(policyName="p1")["policyVersions"]
    assert sorted(version["versionId"] for version in held) == ["3", "4", "5", "6", "7"]
    back = run("iot_policy", name="p1", document=document("iot:Action4"))
    assert back["policy"]["default_version_id"] == "5"
    assert prediction_holds(run, "iot_policy", "policy", name="p1", state="absent")["changed"]


def test_certificate_for_a_csr(run: Run, aws: Aws) -> None:
    run("iot_thing", name="t3")
    run("iot_policy", name="p3", document=document("iot:Connect"))
    run("iot_policy", name="p4", document=document("iot:Publish"))
    csr, _ = pair()
    issued = prediction_holds(
        run, "iot_certificate", "certificate", thing_name="t3", csr=csr, policies=["p3"]
    )
    assert issued["changed"]
    assert "key_pair" not in issued
    certificate = issued["certificate"]
    assert aws("iot").list_thing_principals(thingName="t3")["principals"] == [certificate["certificate_arn"]]
    prediction_holds(run, "iot_certificate", "certificate", thing_name="t3", csr=csr, policies=["p4"])
    attached = aws("iot").list_attached_policies(target=certificate["certificate_arn"])["policies"]
    assert [policy["policyName"] for policy in attached] == ["p4"]
    prediction_holds(run, "iot_certificate", "certificate", thing_name="t3", state="inactive")
    prediction_holds(run, "iot_certificate", "certificate", thing_name="t3", csr=csr)
    prediction_holds(run, "iot_certificate", "certificate", thing_name="t3", state="revoked")
    refused = run("iot_certificate", thing_name="t3", csr=csr)
    assert refused["failed"]
    assert "revoked" in refused["msg"]
    renewed = run("iot_certificate", thing_name="t3", csr=pair()[0])["certificate"]
    assert renewed["certificate_id"] != certificate["certificate_id"]
    for one in (certificate, renewed):
        prediction_holds(
            run, "iot_certificate", "certificate", certificate_id=one["certificate_id"], state="absent"
        )
    assert aws("iot").list_thing_principals(thingName="t3")["principals"] == []


def test_certificate_with_keys_of_aws(run: Run) -> None:
    run("iot_thing", name="t4")
    issued = run("iot_certificate", thing_name="t4")
    assert issued["key_pair"]["private_key"].startswith("-----BEGIN")
    again = run("iot_certificate", thing_name="t4")
    assert again["certificate"] == issued["certificate"]
    assert "key_pair" not in again
    run("iot_certificate", thing_name="t4", csr=pair()[0])
    ambiguous = run("iot_certificate", thing_name="t4")
    assert issued["certificate"]["certificate_id"] in ambiguous["msg"]


def test_certificate_refuses_what_is_no_csr(run: Run) -> None:
    assert "PEM" in run("iot_certificate", thing_name="t4", csr="nonsense")["msg"]
    assert "thing_name" in run("iot_certificate", certificate_id="0" * 64)["msg"]


ROLE_TRUST = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "iot.amazonaws.com"}}]}  # fmt: skip


@pytest.fixture(name="role", scope="module")
def _role() -> str:
    return "arn:aws:iam::123456789012:role/rule"


def test_rule(run: Run, aws: Aws, role: str) -> None:
    aws("iam").create_role(RoleName="rule", AssumeRolePolicyDocument=json.dumps(ROLE_TRUST))
    url = "https://ingest.invalid/ingest"
    template = f"${{get_secret('s', 'SecretString', 'secret', '{role}')}}"
    http = {
        "url": url,
        "confirmationUrl": url,
        "headers": [{"key": "X-Iot-Secret", "value": template}],
        "enableBatching": True,
        "batchConfig": {"maxBatchSize": 10},
    }
    queue = {"queueUrl": "https://sqs.us-east-2.amazonaws.com/123456789012/dead", "roleArn": role}
    asked = {
        "name": "r1",
        "sql": "SELECT *\n  FROM 'things/telemetry'",
        "actions": [{"http": http}],
        "error_action": {"sqs": queue},
    }
    assert prediction_holds(run, "iot_topic_rule", "rule", **asked)["changed"]
    rule = aws("iot").get_topic_rule(ruleName="r1")["rule"]
    assert rule["actions"][0]["http"]["url"] == http["url"]
    assert rule["actions"][0]["http"]["batchConfig"]["maxBatchSize"] == 10
    assert rule["errorAction"]["sqs"]["roleArn"] == role
    assert rule["awsIotSqlVersion"] == "2016-03-23"
    assert prediction_holds(run, "iot_topic_rule", "rule", **asked, enabled=False)["changed"]
    assert aws("iot").get_topic_rule(ruleName="r1")["rule"]["ruleDisabled"]
    changed = asked | {"sql": "SELECT temp FROM 'things/telemetry'", "error_action": None}
    assert prediction_holds(run, "iot_topic_rule", "rule", **changed)["changed"]
    assert "errorAction" not in aws("iot").get_topic_rule(ruleName="r1")["rule"]
    tagged = changed | {"tags": {"a": "1", "b": "2"}}
    assert prediction_holds(run, "iot_topic_rule", "rule", **tagged)["changed"]
    tagged["tags"] = {"b": "3"}
    assert prediction_holds(run, "iot_topic_rule", "rule", **tagged)["changed"]
    assert prediction_holds(run, "iot_topic_rule", "rule", name="r1", state="absent")["changed"]


def test_rule_names_what_is_wrong(run: Run) -> None:
    assert "forward_to_alb" in run("iot_topic_rule", name="forward-to-alb", state="absent")["msg"]
    queue = {
        "sqs": {
            "queueUrl": "https://sqs.us-east-2.amazonaws.com/123456789012/dead",
            "roleArn": "arn:aws:iam::123456789012:role/none",
        }
    }
    refused = run("iot_topic_rule", name="r2", sql="SELECT * FROM 'a'", actions=[queue], role_timeout=0)
    assert "create_topic_rule" in refused["msg"]
    assert "role/none" in refused["msg"]
