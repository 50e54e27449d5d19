"""Whose resources are: what belongs to somebody else is neither changed nor attached to nor deleted."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.collection.helpers import Aws, Run, document, imported, pair, prediction_holds
from tests.collection.receivers import Receiver

OWNER = {"Deployment": "staging"}
PROD = [{"Key": "Deployment", "Value": "prod"}]
ADVICE = "Set iot_something, or adopt it."
ACTION = {"lambda": {"functionArn": "arn:aws:lambda:us-east-2:123456789012:function:f"}}
SQL = "SELECT * FROM 'x'"
POLICY = json.dumps(document("iot:Connect"))


def owned(run: Run, module: str, **options: Any) -> dict[str, Any]:
    """Call a module as deployment staging does."""
    return run(module, owner=OWNER, owner_advice=ADVICE, **options)


def refused(run: Run, module: str, belongs: str, **options: Any) -> None:
    """The module fails in check mode and really, and names the owner and what to do."""
    for check in (True, False):
        answer = owned(run, module, check=check, **options)
        assert answer.get("failed") is True
        assert belongs in answer["msg"]
        assert ADVICE in answer["msg"]


def left(run: Run, module: str, belongs: str, state: str = "absent", **options: Any) -> None:
    """The module changes nothing, and warns who the owner is and what to do."""
    for check in (True, False):
        answer = owned(run, module, check=check, state=state, **options)
        assert (answer.get("failed"), answer["changed"]) == (None, False)
        assert belongs in str(answer["warnings"])
        assert ADVICE in str(answer["warnings"])


def test_things_and_destinations_are_looked_up_too(run: Run, aws: Aws) -> None:
    iot, url = aws("iot"), "https://shared.example/ingest"
    for thing, owner in (("ours", "staging"), ("theirs", "prod"), ("nobodys", None)):
        iot.create_thing(thingName=thing, attributePayload={"attributes": {"Deployment": owner} if owner else {}})
    arn = iot.create_topic_rule_destination(
        destinationConfiguration={"httpUrlConfiguration": {"confirmationUrl": url}}
    )["topicRuleDestination"]["arn"]
    rule = {"sql": SQL, "actions": [{"http": {"url": f"{url}/x", "confirmationUrl": url}}]}
    iot.create_topic_rule(ruleName="theirs", topicRulePayload=rule, tags="Deployment=prod")
    rule = {"sql": SQL, "actions": [ACTION]}
    iot.create_topic_rule(ruleName="ours", topicRulePayload=rule, tags="Deployment=staging")
    module, things = "deployment.foreign_names", ["ours", "theirs", "nobodys", "free"]
    found = owned(run, module, names={"thing": things, "device": things, "destination": url})["foreign"]
    beside = owned(run, module, names={"rule": "ours", "destination": url})["foreign"]
    elsewhere = owned(run, module, names={"destination": "https://other.example/ingest"})["foreign"]
    for name in ("ours", "theirs"):
        iot.delete_topic_rule(ruleName=name)
    iot.delete_topic_rule_destination(arn=arn)
    for name in ("ours", "theirs", "nobodys"):
        iot.delete_thing(thingName=name)

    theirs = "theirs (Deployment is prod, not staging)"
    assert found == {
        "thing": f"{theirs}, nobodys (Deployment is not set, not staging)",
        "device": theirs,
        "destination": f"{url}, to which rule theirs posts (Deployment is prod, not staging)",
    }
    assert (beside, elsewhere) == ({}, {})


@pytest.mark.parametrize(("tags", "belongs"), [([], "Deployment is not set"), (PROD, "Deployment is prod")])
def test_anothers_policy(run: Run, aws: Aws, tags: list[dict[str, str]], belongs: str) -> None:
    iot = aws("iot")
    arn = iot.create_policy(policyName="anothers", policyDocument=POLICY, tags=tags)["policyArn"]
    belongs = f"Policy anothers belongs to somebody else ({belongs}, not staging)"
    refused(run, "iot_policy", belongs, name="anothers", document=document("iot:Publish"))
    left(run, "iot_policy", belongs, name="anothers", detach_targets=True)
    owned(run, "iot_thing", name="attached")
    refused(run, "iot_certificate", belongs, thing_name="attached", csr=pair()[0], policies=["anothers"])
    assert iot.get_policy(policyName="anothers")["policyDocument"] == POLICY
    assert iot.list_thing_principals(thingName="attached")["principals"] == []
    assert iot.list_tags_for_resource(resourceArn=arn)["tags"] == tags
    iot.delete_policy(policyName="anothers")
    iot.delete_thing(thingName="attached")


@pytest.mark.parametrize(("tags", "belongs"), [("", "is not set"), ("Deployment=prod", "is prod")])
def test_anothers_rule(run: Run, aws: Aws, tags: str, belongs: str) -> None:
    iot = aws("iot")
    iot.create_topic_rule(ruleName="anothers", topicRulePayload={"sql": SQL, "actions": [ACTION]}, tags=tags)
    belongs = f"Rule anothers belongs to somebody else (Deployment {belongs}, not staging)"
    refused(run, "iot_topic_rule", belongs, name="anothers", sql="SELECT a FROM 'y'", actions=[ACTION])
    for state in ("disabled", "absent"):
        left(run, "iot_topic_rule", belongs, name="anothers", state=state)
    rule = iot.get_topic_rule(ruleName="anothers")["rule"]
    assert (rule["sql"], rule["ruleDisabled"]) == (SQL, False)
    iot.delete_topic_rule(ruleName="anothers")


@pytest.mark.parametrize(("attributes", "belongs"), [({}, "is not set"), ({"Deployment": "prod"}, "is prod")])
def test_anothers_thing(run: Run, aws: Aws, attributes: dict[str, str], belongs: str) -> None:
    iot = aws("iot")
    iot.create_thing(thingName="anothers", attributePayload={"attributes": attributes})
    issued = iot.create_keys_and_certificate(setAsActive=True)
    iot.attach_thing_principal(thingName="anothers", principal=issued["certificateArn"])
    belongs = f"Thing anothers belongs to somebody else (Deployment {belongs}, not staging)"
    refused(run, "iot_thing", belongs, name="anothers", attributes={"room": "cellar"})
    refused(run, "iot_certificate", belongs, thing_name="anothers", csr=pair()[0])
    left(run, "iot_thing", belongs, name="anothers", detach_principals=True)
    left(run, "iot_certificate", belongs, thing_name="anothers")
    left(run, "iot_certificate", belongs, certificate_id=issued["certificateId"])
    assert iot.describe_thing(thingName="anothers")["attributes"] == attributes
    certificate = iot.describe_certificate(certificateId=issued["certificateId"])["certificateDescription"]
    assert certificate["status"] == "ACTIVE"
    assert iot.list_thing_principals(thingName="anothers")["principals"] == [issued["certificateArn"]]
    run("iot_certificate", certificate_id=issued["certificateId"], state="absent")
    iot.delete_thing(thingName="anothers")


def test_anothers_destination(run: Run, aws: Aws, receiver: Receiver) -> None:
    """A destination has no tags: it belongs to whose rule posts to it."""
    iot, url = aws("iot"), f"{receiver.url}/owned"
    assert owned(run, "iot_topic_rule_destination", confirmation_url=url)["destination"]["status"] == "ENABLED"
    action = {"http": {"url": f"{url}/below", "confirmationUrl": url}}
    iot.create_topic_rule(
        ruleName="posting", topicRulePayload={"sql": SQL, "actions": [action]}, tags="Deployment=prod"
    )
    belongs = f"Destination {url}, to which rule posting posts, belongs to somebody else (Deployment is prod"
    refused(run, "iot_topic_rule_destination", belongs, confirmation_url=url)
    left(run, "iot_topic_rule_destination", belongs, confirmation_url=url)
    listed = iot.list_topic_rule_destinations()["destinationSummaries"]
    assert url in [one["httpUrlSummary"]["confirmationUrl"] for one in listed]
    iot.delete_topic_rule(ruleName="posting")
    assert owned(run, "iot_topic_rule_destination", confirmation_url=url, state="absent")["changed"] is True


def test_what_is_made_bears_the_owner(run: Run, aws: Aws) -> None:
    wanted = {"owner": OWNER}
    policy = prediction_holds(run, "iot_policy", "policy", name="made", document=document("iot:Connect"), **wanted)
    assert policy["policy"]["tags"] == OWNER
    rule = prediction_holds(run, "iot_topic_rule", "rule", name="made", sql=SQL, actions=[ACTION], **wanted)
    assert rule["rule"]["tags"] == OWNER
    thing = prediction_holds(run, "iot_thing", "thing", name="made", attributes={"room": "cellar"}, **wanted)
    assert thing["thing"]["attributes"] == OWNER | {"room": "cellar"}
    aws("iot").update_thing(thingName="made", attributePayload={"attributes": {"more": "1"}, "merge": True})
    assert prediction_holds(run, "iot_thing", "thing", name="made", **wanted)["changed"] is False
    for module in ("iot_thing", "iot_topic_rule", "iot_policy"):
        assert owned(run, module, name="made", state="absent")["changed"] is True


def test_what_has_no_owner_can_be_adopted(run: Run, aws: Aws) -> None:
    iot, adopted = aws("iot"), {"owner": OWNER, "adopt": True}
    iot.create_policy(policyName="old", policyDocument=POLICY, tags=[{"Key": "team", "Value": "water"}])
    iot.create_topic_rule(ruleName="old", topicRulePayload={"sql": SQL, "actions": [ACTION]}, tags="team=water")
    iot.create_thing(thingName="old", attributePayload={"attributes": {"room": "cellar"}})
    policy = prediction_holds(run, "iot_policy", "policy", name="old", document=document("iot:Connect"), **adopted)
    assert policy["policy"]["tags"] == {"team": "water"} | OWNER
    rule = prediction_holds(run, "iot_topic_rule", "rule", name="old", sql=SQL, actions=[ACTION], **adopted)
    assert rule["rule"]["tags"] == {"team": "water"} | OWNER
    thing = prediction_holds(run, "iot_thing", "thing", name="old", **adopted)
    assert thing["thing"]["attributes"] == {"room": "cellar"} | OWNER
    options: dict[str, dict[str, Any]] = {
        "iot_thing": {},
        "iot_topic_rule": {"sql": SQL, "actions": [ACTION]},
        "iot_policy": {"document": POLICY},
    }
    for module, more in options.items():
        other = run(module, name="old", owner={"Deployment": "prod"}, adopt=True, **more)
        assert "Deployment is staging, not prod" in other["msg"]
        assert run(module, name="old", owner=OWNER, state="absent")["changed"] is True


@pytest.fixture(name="fleets")
def _fleets(run: Run, aws: Aws) -> Iterator[dict[str, str]]:
    """ARNs of certificates that all have staging's policy, by whose thing they belong to."""
    iot = aws("iot")
    owned(run, "iot_policy", name="fleet", document=POLICY)
    arns: dict[str, str] = {}
    things = {"ours": OWNER, "prods": {"Deployment": "prod"}, "nobodys": {}, "": {}, "interrupted": {}}
    for thing, owner in things.items():
        arns[thing] = iot.create_keys_and_certificate(setAsActive=True)["certificateArn"]
        iot.attach_policy(policyName="fleet", target=arns[thing])
        if thing in ("", "interrupted"):
            continue
        iot.create_thing(thingName=thing, attributePayload={"attributes": owner})
        iot.attach_thing_principal(thingName=thing, principal=arns[thing])
    iot.update_certificate(certificateId=arns["interrupted"].rpartition("/")[2], newStatus="REVOKED")
    yield arns
    run("iot_fleet", policy_name="fleet")
    for thing in ("ours", "prods", "nobodys"):
        iot.delete_thing(thingName=thing)
    iot.delete_policy(policyName="fleet")


def test_a_fleet_is_what_was_enrolled(run: Run, aws: Aws, fleets: dict[str, str]) -> None:
    """Not what has the policy: others may have attached it to certificates of their own."""
    wanted = {"policy_name": "fleet", "things": ["ours", "prods", "nobodys", "never-was"]}
    predicted = owned(run, "iot_fleet", check=True, **wanted)
    done = owned(run, "iot_fleet", **wanted)
    kept = {fleets[name] for name in ("prods", "nobodys", "")}
    for answer in (predicted, done):
        assert set(answer["certificates"]) == {fleets[one].rpartition("/")[2] for one in ("ours", "interrupted")}
        assert answer["things"] == ["ours"]
        assert set(answer["left"]) == kept
    iot = aws("iot")
    statuses = {one["certificateArn"]: one["status"] for one in iot.list_certificates()["certificates"]}
    assert {arn for arn in kept if statuses[arn] == "ACTIVE"} == kept
    assert set(iot.list_targets_for_policy(policyName="fleet")["targets"]) == kept
    again = owned(run, "iot_fleet", **wanted)
    assert (again["changed"], set(again["left"])) == (False, kept)


def test_a_fleet_without_owner_can_be_adopted(run: Run, fleets: dict[str, str]) -> None:
    answer = run("iot_fleet", check=True, policy_name="fleet", owner=OWNER, adopt=True)
    assert answer["things"] == ["nobodys", "ours"]
    assert set(answer["left"]) == {fleets["prods"], fleets[""]}


def test_a_fleet_of_anothers_policy(run: Run, aws: Aws, fleets: dict[str, str]) -> None:
    arn = aws("iot").get_policy(policyName="fleet")["policyArn"]
    aws("iot").tag_resource(resourceArn=arn, tags=PROD)
    answer = owned(run, "iot_fleet", check=True, policy_name="fleet")
    assert answer["certificates"] == [fleets["ours"].rpartition("/")[2]]
    assert answer["left"] == []


class Session:
    """A boto3 session of the emulated account."""

    def __init__(self, aws: Aws) -> None:
        self.client = aws


def planned(kind: str, name: str, **values: Any) -> dict[str, Any]:
    """What a plan says of a resource that it would create."""
    after = {"alarm_name" if kind == "aws_cloudwatch_metric_alarm" else "name": name, **values}
    return {"mode": "managed", "type": kind, "address": f"module.stack.{kind}.x",
            "change": {"actions": ["create"], "after": after}}  # fmt: skip


@pytest.mark.parametrize("owner", [None, "prod", "staging"])
def test_what_terraform_would_take_over(aws: Aws, owner: str | None) -> None:
    """SQS and CloudWatch hand out what exists under a name, so that Terraform would take it for its own."""
    terraform = imported("deployment.terraform_orphans")
    tags = {"Deployment": owner} if owner else {}
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    url = aws("sqs").create_queue(QueueName="held-queue", tags=tags)["QueueUrl"]
    aws("logs").create_log_group(logGroupName="/aws/eks/held/cluster", tags=tags)
    secret = aws("secretsmanager").create_secret(Name="held/secret", SecretString="x", Tags=listed)["ARN"]
    aws("cloudwatch").put_metric_alarm(
        AlarmName="held-alarm", ComparisonOperator="LessThanThreshold", EvaluationPeriods=1, Threshold=1,
        MetricName="m", Namespace="n", Period=60, Statistic="Sum", Tags=listed)  # fmt: skip
    aws("iam").create_instance_profile(InstanceProfileName="held-node", Tags=listed)
    ids = {
        "aws_sqs_queue": ("held-queue", url),
        "aws_cloudwatch_log_group": ("/aws/eks/held/cluster", "/aws/eks/held/cluster"),
        "aws_secretsmanager_secret": ("held/secret", secret),
        "aws_cloudwatch_metric_alarm": ("held-alarm", "held-alarm"),
        "aws_iam_instance_profile": ("held-node", "held-node"),
    }
    free = [planned("aws_sqs_queue", "free-queue"), planned("aws_iam_instance_profile", "free-node")]
    plan = {"resource_changes": [*(planned(kind, name) for kind, (name, _) in ids.items()), *free]}
    imports, foreign = terraform.existing(plan, terraform.Account(Session(aws), "staging"))
    adopted, refused_still = terraform.existing(plan, terraform.Account(Session(aws), "staging", adopt=True))
    aws("sqs").delete_queue(QueueUrl=url)
    aws("logs").delete_log_group(logGroupName="/aws/eks/held/cluster")
    aws("secretsmanager").delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
    aws("cloudwatch").delete_alarms(AlarmNames=["held-alarm"])
    aws("iam").delete_instance_profile(InstanceProfileName="held-node")

    whole = [{"to": f"module.stack.{kind}.x", "id": identifier} for kind, (_, identifier) in ids.items()]
    says = f"belongs to deployment {owner}" if owner else "has no tag Deployment"
    sentences = [f"{name} (module.stack.{kind}.x) {says}" for kind, (name, _) in ids.items()]
    assert (imports, foreign) == ((whole, []) if owner == "staging" else ([], sentences))
    assert (adopted, refused_still) == (([], sentences) if owner == "prod" else (whole, []))


def test_a_node_group_that_a_killed_run_made_beside_another_is_named(aws: Aws) -> None:
    terraform = imported("deployment.terraform_orphans")
    eks, role = aws("eks"), "arn:aws:iam::123456789012:role/x"
    eks.create_cluster(name="halfway", roleArn=role, resourcesVpcConfig={})
    after = {"cluster_name": "halfway", "node_group_name": "default-2"}
    change = {"actions": ["create", "delete"], "after": after}
    plan = {"resource_changes": [{"type": "aws_eks_node_group", "change": change}]}

    def found() -> list[str]:
        sentences: list[str] = terraform.halfway(plan, terraform.Account(Session(aws), "staging"))
        return sentences

    assert found() == []
    eks.create_nodegroup(clusterName="halfway", nodegroupName="default-2", subnets=["subnet-1"], nodeRole=role,
                         tags={"Deployment": "staging"})  # fmt: skip
    [sentence] = found()
    change["actions"] = ["update"]
    assert found() == []
    eks.delete_nodegroup(clusterName="halfway", nodegroupName="default-2")
    eks.delete_cluster(name="halfway")
    assert sentence.startswith("Node group default-2 exists already")
    assert "aws eks delete-nodegroup --cluster-name halfway --nodegroup-name default-2 && aws eks wait" in sentence


def test_what_was_deleted_is_not_found_by_the_tags_that_outlive_it(aws: Aws) -> None:
    terraform, ec2 = imported("deployment.terraform_orphans"), aws("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    ids = {
        "aws_vpc": vpc,
        "aws_subnet": ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"],
        "aws_eip": ec2.allocate_address(Domain="vpc")["AllocationId"],
        "aws_internet_gateway": ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"],
        "aws_route_table": ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"],
    }
    endpoint = {"VpcEndpointType": "Gateway", "ServiceName": "com.amazonaws.us-east-2.s3"}
    ids["aws_vpc_endpoint"] = ec2.create_vpc_endpoint(VpcId=vpc, RouteTableIds=[ids["aws_route_table"]], **endpoint)[
        "VpcEndpoint"
    ]["VpcEndpointId"]
    ids["aws_nat_gateway"] = ec2.create_nat_gateway(SubnetId=ids["aws_subnet"], AllocationId=ids["aws_eip"])[
        "NatGateway"
    ]["NatGatewayId"]
    tags = {"Deployment": "staging", "Name": "outlived"}
    ec2.create_tags(Resources=[*ids.values()], Tags=[{"Key": key, "Value": value} for key, value in tags.items()])

    def found() -> dict[str, str | None]:
        account = terraform.Account(Session(aws), "staging")
        return {kind: account.find(kind, {"tags": tags}, set()) for kind in ids}

    there = found()
    ec2.delete_nat_gateway(NatGatewayId=ids["aws_nat_gateway"])
    ec2.delete_vpc_endpoints(VpcEndpointIds=[ids["aws_vpc_endpoint"]])
    ec2.delete_route_table(RouteTableId=ids["aws_route_table"])
    ec2.delete_internet_gateway(InternetGatewayId=ids["aws_internet_gateway"])
    ec2.release_address(AllocationId=ids["aws_eip"])
    ec2.delete_subnet(SubnetId=ids["aws_subnet"])
    ec2.delete_vpc(VpcId=vpc)
    assert there == ids
    assert found() == dict.fromkeys(ids)


def test_the_log_group_that_eks_made_anew_is_nobodys(aws: Aws) -> None:
    """EKS makes it without tags when the last lines of a deleted cluster come late."""
    terraform = imported("deployment.terraform_orphans")
    eks, logs, name = aws("eks"), aws("logs"), "/aws/eks/anew/cluster"
    plan = {"resource_changes": [planned("aws_cloudwatch_log_group", name)]}

    def found() -> Any:
        return terraform.existing(plan, terraform.Account(Session(aws), "staging"))

    sentence = f"{name} (module.stack.aws_cloudwatch_log_group.x) has no tag Deployment"
    foreign: tuple[list[Any], list[Any]] = ([], [sentence])
    logs.create_log_group(logGroupName=name)
    cluster = {"name": "anew", "roleArn": "arn:aws:iam::123456789012:role/x", "resourcesVpcConfig": {}}
    eks.create_cluster(**cluster, logging={"clusterLogging": [{"types": ["api"], "enabled": True}]})
    assert found() == foreign
    eks.delete_cluster(name="anew")
    assert found() == foreign  # nothing of EKS's is in it
    logs.delete_log_group(logGroupName=name)
    adopted: tuple[list[Any], list[Any]] = ([{"to": "module.stack.aws_cloudwatch_log_group.x", "id": name}], [])
    assert found() == adopted
    eks.create_cluster(**cluster)
    assert found() == foreign
    eks.delete_cluster(name="anew")
    assert found() == adopted
    logs.put_retention_policy(logGroupName=name, retentionInDays=7)
    assert found() == foreign  # EKS sets no retention
    logs.delete_log_group(logGroupName=name)
    assert found() == ([], [])


@pytest.mark.parametrize("owner", [None, "prod", "staging"])
def test_names_are_looked_up_before_anything_is_made(run: Run, aws: Aws, owner: str | None) -> None:
    iot, ecr, route53 = aws("iot"), aws("ecr"), aws("route53")
    tags = [{"Key": "Deployment", "Value": owner}] if owner else []
    rule = {"sql": SQL, "actions": [ACTION]}
    iot.create_topic_rule(ruleName="held", topicRulePayload=rule, tags=f"Deployment={owner}" if owner else "")
    iot.create_policy(policyName="held", policyDocument=POLICY, tags=tags)
    iot.create_thing(thingName="held", attributePayload={"attributes": {"Deployment": owner} if owner else {}})
    ecr.create_repository(repositoryName="held", tags=tags)
    zone = route53.create_hosted_zone(Name="held.example", CallerReference="held")["HostedZone"]["Id"]
    target = f"{owner or 'www'}-1a.us-east-2.elb.amazonaws.com"
    record = {"Name": "in.held.example", "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": target}]}

    def write(action: str) -> None:
        changes = [{"Action": action, "ResourceRecordSet": record}]
        route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})

    write("CREATE")
    domain = {"domain": "in.held.example", "zone": "held.example", "addresses": "staging-[0-9a-f]+[.]"}
    kinds = dict.fromkeys(("rule", "policy", "thing", "repository"), "held")
    look, module = {"names": kinds, **domain}, "deployment.foreign_names"
    found = owned(run, module, **look)["foreign"]
    adopting = owned(run, module, adopt=True, **look)["foreign"]
    free = owned(run, module, names=dict.fromkeys(kinds, "free"), domain="free.held.example", zone="held.example")
    iot.delete_topic_rule(ruleName="held")
    iot.delete_policy(policyName="held")
    iot.delete_thing(thingName="held")
    ecr.delete_repository(repositoryName="held")
    write("DELETE")
    route53.delete_hosted_zone(Id=zone)

    says = f"held (Deployment is {owner or 'not set'}, not staging)"
    pointing = {"domain": f"in.held.example (it points to {target})"}
    assert found == ({} if owner == "staging" else dict.fromkeys(kinds, says) | pointing)
    assert adopting == {"prod": dict.fromkeys(kinds, says) | pointing, None: pointing, "staging": {}}[owner]
    assert free["foreign"] == {}


@pytest.mark.parametrize(("tags", "belongs"), [([], "Deployment is not set"), (PROD, "Deployment is prod")])
def test_anothers_repository(run: Run, aws: Aws, tags: list[dict[str, str]], belongs: str) -> None:
    ecr, module = aws("ecr"), "deployment.ecr_repository"
    arn = ecr.create_repository(repositoryName="anothers", tags=tags)["repository"]["repositoryArn"]
    belongs = f"ECR repository anothers belongs to somebody else ({belongs}, not staging)"
    refused(run, module, belongs, name="anothers")
    left(run, module, belongs, name="anothers")
    assert ecr.list_tags_for_resource(resourceArn=arn)["tags"] == tags
    ecr.delete_repository(repositoryName="anothers")


def test_a_repository_bears_its_owner(run: Run, aws: Aws) -> None:
    ecr, module = aws("ecr"), "deployment.ecr_repository"
    made = prediction_holds(run, module, "tags", name="made", owner=OWNER)
    assert made["tags"] == OWNER
    arn = ecr.describe_repositories(repositoryNames=["made"])["repositories"][0]["repositoryArn"]
    ecr.untag_resource(resourceArn=arn, tagKeys=["Deployment"])
    ecr.tag_resource(resourceArn=arn, tags=[{"Key": "team", "Value": "water"}])
    adopted = prediction_holds(run, module, "tags", name="made", owner=OWNER, adopt=True)
    assert (adopted["changed"], adopted["tags"]) == (True, OWNER | {"team": "water"})
    assert prediction_holds(run, module, "tags", name="made", owner=OWNER, state="absent")["changed"] is True
    assert ecr.describe_repositories()["repositories"] == []
