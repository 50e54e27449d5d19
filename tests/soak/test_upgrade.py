"""What 1.0.0 made bears no owner: a run refuses it, changes none of it, and takes it over when asked to."""

from collections.abc import Callable
from typing import Any

from tests.deployment.conftest import Kubectl, Playbook

Aws = Callable[[str], Any]
LABEL = "app.kubernetes.io/part-of"
THINGS = ("iot-verify", "kit-1", "edge-1", "edge-2")


def owners(aws: Aws, kubectl: Kubectl) -> dict[str, str | None]:
    """Whose each thing is that no Terraform made, by its name."""
    iot, ecr = aws("iot"), aws("ecr")
    rule, policy, repository = arns(aws)
    listed = {
        "rule": iot.list_tags_for_resource(resourceArn=rule)["tags"],
        "policy": iot.list_tags_for_resource(resourceArn=policy)["tags"],
        "repository": ecr.list_tags_for_resource(resourceArn=repository)["tags"],
    }
    found = {name: {tag["Key"]: tag["Value"] for tag in tags}.get("Deployment") for name, tags in listed.items()}
    found |= {thing: iot.describe_thing(thingName=thing)["attributes"].get("Deployment") for thing in THINGS}
    return found | {"namespace": kubectl("get", "namespace", "apps")["metadata"]["labels"].get(LABEL)}


def arns(aws: Aws) -> tuple[str, str, str]:
    """Those of rule, policy and repository."""
    iot = aws("iot")
    [repository] = aws("ecr").describe_repositories(repositoryNames=["iot-receiver"])["repositories"]
    return (iot.get_topic_rule(ruleName="forward_to_alb")["ruleArn"],
            iot.get_policy(policyName="iot-thing-policy")["policyArn"], repository["repositoryArn"])  # fmt: skip


def disown(aws: Aws, kubectl: Kubectl) -> None:
    """Leave a deployment as 1.0.0 left it."""
    iot = aws("iot")
    rule, policy, repository = arns(aws)
    for arn in (rule, policy):
        iot.untag_resource(resourceArn=arn, tagKeys=["Deployment"])
    aws("ecr").untag_resource(resourceArn=repository, tagKeys=["Deployment"])
    for thing in THINGS:
        iot.update_thing(thingName=thing, attributePayload={"attributes": {"Deployment": ""}, "merge": True})
    kubectl.text("label", "namespace", "apps", f"{LABEL}-")


def test_what_an_earlier_version_made_is_taken_over(playbook: Playbook, aws: Aws, kubectl: Kubectl) -> None:
    disown(aws, kubectl)
    nobodys = owners(aws, kubectl)
    assert set(nobodys.values()) == {None}
    refused = playbook("site.yml", limit=900)
    assert refused.status != 0
    assert "deployment_adopt=true" in refused.output
    checked = playbook("site.yml", "--check", "-e", "deployment_adopt=true", limit=900)
    assert checked.status == 0, checked.output[-4000:]
    assert checked.changed > 0
    assert owners(aws, kubectl) == nobodys
    taken = playbook("site.yml", "-e", "deployment_adopt=true", limit=900)
    assert taken.status == 0, taken.output[-4000:]
    assert set(owners(aws, kubectl).values()) == {"iot-receiver"}
    again = playbook("site.yml", limit=900)
    assert (again.status, again.changed) == (0, 0), again.output[-4000:]
