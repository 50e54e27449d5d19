"""What Karpenter may launch, whose it is, and the messages of its role."""

import re
from typing import Any

import pytest

from tests.support.paths import ROOT
from tests.templates.render import render, variable

INFRASTRUCTURE: dict[str, Any] = {
    "infrastructure_cluster_name": "the-cluster",
    "infrastructure_karpenter_role_arn": "arn:aws:iam::123456789012:role/k",
    "infrastructure_node_instance_profile": "iot-receiver-node",
    "infrastructure_private_subnet_ids": ["subnet-1", "subnet-2"],
    "infrastructure_cluster_security_group_id": "sg-1",
}


def karpenter(template: str, **variables: Any) -> dict[str, Any]:
    """One of its objects."""
    return render("karpenter", f"{template}.yaml.j2", **INFRASTRUCTURE | {"deployment_name": "staging"} | variables)


def test_its_nodes_are_like_the_managed_groups() -> None:
    stack = {"node_disk_gib": 80, "tags": {"Team": 42, "Deployment": "b"}}
    spec = karpenter("ec2_node_class", terraform_variables=stack)["spec"]
    assert spec["instanceProfile"] == "iot-receiver-node"
    assert spec["subnetSelectorTerms"] == [{"id": "subnet-1"}, {"id": "subnet-2"}]
    assert spec["securityGroupSelectorTerms"] == [{"id": "sg-1"}]
    assert spec["amiSelectorTerms"] == [{"alias": "al2023@latest"}]
    [disk] = spec["blockDeviceMappings"]
    assert disk["ebs"] == {"volumeSize": "80Gi", "volumeType": "gp3", "encrypted": True, "deleteOnTermination": True}
    assert spec["metadataOptions"] == {
        "httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 1,
    }  # fmt: skip
    assert spec["tags"] == {"Team": "42", "Deployment": "staging", "ManagedBy": "karpenter", "Project": "iot-receiver"}


@pytest.mark.parametrize(
    ("variables", "processors", "types"),
    [
        ({}, "amd64", ["m6i.large"]),
        ({"architecture": "arm64"}, "arm64", ["m7g.large"]),
        ({"terraform_variables": {"node_instance_types": []}}, "amd64", ["m6i.large"]),
        ({"terraform_variables": {"node_instance_types": ["c7i.large", "m7i.large"]}}, "amd64",
         ["c7i.large", "m7i.large"]),
        ({"karpenter_instance_types": ["r7i.large"]}, "amd64", ["r7i.large"]),
    ],
)  # fmt: skip
def test_its_instance_types_are_the_managed_groups_unless_named(
    variables: dict[str, Any], processors: str, types: list[str]
) -> None:
    requirements = karpenter("node_pool", **variables)["spec"]["template"]["spec"]["requirements"]
    assert {each["key"]: each["values"] for each in requirements} == {
        "kubernetes.io/arch": [processors],
        "karpenter.sh/capacity-type": ["on-demand"],
        "node.kubernetes.io/instance-type": types,
    }


def test_defaults_are_the_stacks() -> None:
    nodes, variables = ((ROOT / "terraform" / name).read_text() for name in ("nodes.tf", "variables.tf"))
    for architecture in ("x86_64", "arm64"):
        [kind] = variable("karpenter", "karpenter_instance_types", architecture=architecture)
        assert f'"{kind}"' in nodes
    [disk] = re.findall(r'variable "node_disk_gib" {[^}]*default += (\d+)', variables)
    assert variable("karpenter", "karpenter_disk_gib") == int(disk)
    names = set(re.findall(r'"(/dev/\w+)"', nodes))
    assert {each["deviceName"] for each in karpenter("ec2_node_class")["spec"]["blockDeviceMappings"]} == names


def test_its_nodes_are_bounded_and_replaced_once_a_month() -> None:
    made = karpenter("node_pool", karpenter_max_nodes="2")
    assert made["metadata"] == {"name": "staging", "labels": {"app.kubernetes.io/part-of": "staging"}}
    assert made["spec"]["limits"] == {"nodes": 2}
    assert made["spec"]["disruption"] == {"consolidateAfter": "5m", "consolidationPolicy": "WhenEmptyOrUnderutilized"}
    assert made["spec"]["template"]["spec"]["expireAfter"] == "720h"
    node_class = karpenter("ec2_node_class")
    reference = made["spec"]["template"]["spec"]["nodeClassRef"]
    assert f"{reference['group']}/v1" == node_class["apiVersion"]
    assert (reference["kind"], reference["name"]) == (node_class["kind"], node_class["metadata"]["name"])


def test_its_chart_gets_role_and_cluster() -> None:
    values = variable("karpenter", "__karpenter_values", karpenter_replicas=1, **INFRASTRUCTURE)
    assert values["serviceAccount"]["annotations"]["eks.amazonaws.com/role-arn"].endswith("role/k")
    assert values["settings"] == {"clusterName": "the-cluster"}
    assert values["replicas"] == 1
    account = (ROOT / "terraform/identity.tf").read_text()
    assert f'"kube-system:{values["serviceAccount"]["name"]}"' in account


@pytest.mark.parametrize("role", ["", "arn:aws:iam::123456789012:role/k"])
def test_an_inventory_with_a_role_for_it_names_the_rest(role: str) -> None:
    wanted = set(variable("deployment_facts", "__deployment_facts_wanted", infrastructure_karpenter_role_arn=role))
    names = {name.removeprefix("infrastructure_") for name in INFRASTRUCTURE}
    always = set(variable("deployment_facts", "__deployment_facts_names"))
    assert wanted - always == (names - always - {"karpenter_role_arn"} if role else set())


@pytest.mark.parametrize(
    ("owners", "ours"), [([], True), (["staging"], True), (["prod"], False), ([""], False)], ids=str
)
def test_whose_karpenter_is(owners: list[str], ours: bool) -> None:
    found = [{"metadata": {"labels": {"app.kubernetes.io/part-of": owner} if owner else {}}} for owner in owners]
    given = {"deployment_name": "staging", "karpenter_deployments": {"resources": found}}
    assert variable("karpenter", "__karpenter_is_ours", **given) is ours


def condition(status: str, generation: int, message: str = "", kind: str = "Ready") -> dict[str, Any]:
    return {"type": kind, "status": status, "observedGeneration": generation, "message": message}


@pytest.mark.parametrize("resources", [[], [{"metadata": {"generation": 1}}]], ids=["none", "new"])
def test_an_object_that_karpenter_has_not_seen_is_not_ready(resources: list[dict[str, Any]]) -> None:
    assert variable("karpenter", "__karpenter_ready", karpenter_object={"resources": resources}) is False


@pytest.mark.parametrize(
    ("conditions", "ready"),
    [
        ([condition("True", 2)], True),
        ([condition("True", 1)], False),  # of what it was before
        ([condition("False", 2)], False),
        ([condition("True", 2, kind="AMIsReady")], False),
        ([], False),
    ],
)
def test_an_object_is_ready_as_it_is_now(conditions: list[dict[str, Any]], ready: bool) -> None:
    found = {"resources": [{"metadata": {"generation": 2}, "status": {"conditions": conditions}}]}
    assert variable("karpenter", "__karpenter_ready", karpenter_object=found) is ready


def test_what_keeps_it_from_being_ready_is_said_once() -> None:
    refused = "Controller isn't authorized to call ec2:RunInstances"
    conditions = [condition("True", 1, "fine"), condition("False", 1, refused), condition("Unknown", 1)]
    results = [{"resources": [{"status": {"conditions": conditions}}]}] * 2 + [{"resources": [{}]}, {}]
    assert variable("karpenter", "__karpenter_reasons", karpenter_object={"results": results}) == [refused]


@pytest.mark.parametrize(
    ("claims", "said"), [(["b", "a"], "(NodeClaims a, b)"), ([], "describe nodepool,ec2nodeclass staging")]
)
def test_what_stays_is_named_with_the_command_that_shows_why(claims: list[str], said: str) -> None:
    text = variable(
        "karpenter", "__karpenter_nodes_left", deployment_name="staging", infrastructure_kubeconfig="/k",
        karpenter_node_claims={"resources": [{"metadata": {"name": name}} for name in claims]},
    )  # fmt: skip
    assert said in text
    assert "kubectl --kubeconfig /k -n kube-system logs deployment/karpenter" in text


@pytest.mark.parametrize(
    ("chart", "repository", "version"),
    [("oci://example.com/it", "", "1.2.3"), ("it", "https://example.com", "1.2.3"), ("/charts/it", "", "")],
)
def test_a_version_is_asked_for_where_there_are_several(chart: str, repository: str, version: str) -> None:
    found = variable(
        "helm_release", "__helm_release_version", helm_release_chart=chart, helm_release_chart_repository=repository,
        helm_release_chart_version="1.2.3",
    )  # fmt: skip
    assert found == version
