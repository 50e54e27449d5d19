"""The modules by which a deployment is taken away, against an emulated AWS."""

import json
from collections.abc import Callable, Iterator

import pytest

from tests.collection.faults import Answer, Fault, Proxy
from tests.collection.helpers import Aws, Run

POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}]}


@pytest.fixture(name="fleet")
def _fleet(aws: Aws) -> Iterator[dict[str, str]]:
    """Three devices of a fleet, one of which has a certificate of another policy as well; a fourth is another's."""
    iot = aws("iot")
    for policy in ("fleet", "others"):
        iot.create_policy(policyName=policy, policyDocument=json.dumps(POLICY))
    arns: dict[str, str] = {}
    for thing, policies in {"a": ["fleet"], "b": ["fleet", "others"], "c": ["fleet"], "d": ["others"]}.items():
        iot.create_thing(thingName=thing)
        arns[thing] = iot.create_keys_and_certificate(setAsActive=True)["certificateArn"]
        iot.attach_thing_principal(thingName=thing, principal=arns[thing])
        for policy in policies:
            iot.attach_policy(policyName=policy, target=arns[thing])
    arns["c too"] = iot.create_keys_and_certificate(setAsActive=True)["certificateArn"]
    iot.attach_thing_principal(thingName="c", principal=arns["c too"])
    iot.create_thing(thingName="left")  # by an interrupted run
    yield arns
    for thing, arn in {**arns, "c": arns["c too"]}.items():
        if thing in {"c", "d"}:
            iot.detach_thing_principal(thingName=thing, principal=arn)
            for policy in iot.list_attached_policies(target=arn)["policies"]:
                iot.detach_policy(policyName=policy["policyName"], target=arn)
            iot.update_certificate(certificateId=arn.rpartition("/")[2], newStatus="INACTIVE")
            iot.delete_certificate(certificateId=arn.rpartition("/")[2])
            iot.delete_thing(thingName=thing)
    for policy in ("fleet", "others"):
        iot.delete_policy(policyName=policy)


def standing(aws: Aws) -> tuple[set[str], set[str]]:
    iot = aws("iot")
    certificates = {each["certificateArn"] for each in iot.list_certificates()["certificates"]}
    return certificates, {each["thingName"] for each in iot.list_things()["things"]}


def test_a_fleet_is_locked_out_and_nobody_else(run: Run, aws: Aws, fleet: dict[str, str]) -> None:
    wanted = {"policy_name": "fleet", "things": ["left", "d", "never-was"]}
    before = standing(aws)
    predicted = run("iot_fleet", check=True, **wanted)
    assert predicted["changed"] is True
    assert predicted["things"] == ["a", "b", "left"]
    assert standing(aws) == before

    done = run("iot_fleet", **wanted)
    assert {key: done[key] for key in ("changed", "certificates", "things")} == {
        key: predicted[key] for key in ("changed", "certificates", "things")}
    assert standing(aws) == (before[0] - {fleet["a"], fleet["b"], fleet["c"]}, before[1] - {"a", "b", "left"})

    again = run("iot_fleet", **wanted)
    assert (again["changed"], again["certificates"], again["things"]) == (False, [], [])


def test_a_policy_that_is_not_there_has_no_fleet(run: Run) -> None:
    assert run("iot_fleet", policy_name="never-was")["changed"] is False


def test_all_pages_of_a_fleet_are_read(run: Run, aws: Aws, fleet: dict[str, str], proxy: Proxy) -> None:
    """A page that ends before the certificate of another policy: its thing must not go."""

    def in_pages(forward: Callable[[], Answer]) -> Answer:
        whole = forward()
        first = json.loads(whole.body)
        assert set(first["principals"]) == {fleet["c"], fleet["c too"]}
        first |= {"principals": [fleet["c"]], "nextToken": "next"}
        return Answer(whole.status, whole.headers, json.dumps(first).encode())

    proxy.faults.append(Fault("GET /things/c/principals$", in_pages))
    assert run("iot_fleet", check=True, policy_name="fleet", endpoint_url=proxy.url)["things"] == ["a", "b"]
    assert proxy.count("GET /things/c/principals.nextToken=next") == 1
    run("iot_fleet", policy_name="fleet", things=["left"])


def test_a_rule_is_switched_off_as_it_stands(run: Run, aws: Aws) -> None:
    iot = aws("iot")
    action = {"lambda": {"functionArn": "arn:aws:lambda:us-east-2:123456789012:function:f"}}
    iot.create_topic_rule(ruleName="on", topicRulePayload={"sql": "SELECT * FROM 'x'", "actions": [action]})
    assert run("iot_topic_rule", state="disabled", check=True, name="on")["changed"] is True
    assert iot.get_topic_rule(ruleName="on")["rule"]["ruleDisabled"] is False
    assert run("iot_topic_rule", state="disabled", name="on")["changed"] is True
    rule = iot.get_topic_rule(ruleName="on")["rule"]
    assert (rule["ruleDisabled"], rule["sql"]) == (True, "SELECT * FROM 'x'")
    assert run("iot_topic_rule", state="disabled", name="on")["changed"] is False
    iot.delete_topic_rule(ruleName="on")
    gone = run("iot_topic_rule", state="disabled", name="on")
    assert (gone["changed"], gone["rule"]) == (False, {})


def test_dead_letters_are_counted_hidden_ones_too(run: Run, aws: Aws) -> None:
    sqs = aws("sqs")
    url = sqs.create_queue(QueueName="counted")["QueueUrl"]
    for _ in range(3):
        sqs.send_message(QueueUrl=url, MessageBody="{}")
    sqs.receive_message(QueueUrl=url)
    counted = run("deployment.dead_letters_info", queue_urls={"rule": url, "none": "", "gone": url + "-gone"})
    assert counted["queues"] == {"rule": 3, "none": 0, "gone": 0}
    assert counted["total"] == 3
    assert counted["summary"] == "3 dead letters wait (3 of rule, 0 of none, 0 of gone)."
    sqs.delete_queue(QueueUrl=url)


def test_a_cluster_that_is_not_there_is_absent(run: Run) -> None:
    assert run("deployment.eks_cluster_status", name="never-was", ip_family="ipv4")["status"] == "ABSENT"


def test_a_cluster_of_ipv6_addresses_is_refused_by_name(run: Run, aws: Aws, proxy: Proxy) -> None:
    role = "arn:aws:iam::123456789012:role/x"
    aws("eks").create_cluster(name="adopted", roleArn=role, resourcesVpcConfig={})
    of_ipv4 = {"name": "adopted", "ip_family": "ipv4", "endpoint_url": proxy.url}
    assert run("deployment.eks_cluster_status", **of_ipv4)["status"] == "ACTIVE"

    def as_ipv6(forward: Callable[[], Answer]) -> Answer:
        whole = forward()
        return Answer(whole.status, whole.headers, whole.body.replace(b'"ipv4"', b'"ipv6"'))

    proxy.faults.append(Fault("GET /clusters/adopted$", as_ipv6))
    refused = run("deployment.eks_cluster_status", **of_ipv4)["msg"]
    assert "Cluster adopted gives pods and Services addresses of family ipv6" in refused
    assert "Name another cluster" in refused
    aws("eks").delete_cluster(name="adopted")
