"""EKS answers with the real cluster, and its node group's instances are the real nodes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.sandbox.aws.cluster import ISSUER, Cluster, cluster_at
from tests.sandbox.aws.emulator import Emulator, running, serving
from tests.support.certificates import Authority
from tests.support.waiting import until

NODES = [
    {"name": "node-1", "zone": "us-east-2a", "pod_range": "10.244.0.0/24"},
    {"name": "node-2", "zone": "us-east-2b", "pod_range": "10.244.16.0/24"},
]
ROLE = "arn:aws:iam::123456789012:role/x"


@pytest.fixture(scope="module", name="cluster")
def _cluster(tmp_path_factory: pytest.TempPathFactory, aws_authority: Authority) -> Iterator[Cluster]:
    with serving(aws_authority) as endpoint:
        yield cluster_at(endpoint, aws_authority.certificate, tmp_path_factory.mktemp("cluster"))


@pytest.fixture(scope="module", name="emulator")
def _emulator(
    tmp_path_factory: pytest.TempPathFactory, aws_authority: Authority, cluster: Cluster
) -> Iterator[Emulator]:
    folder = tmp_path_factory.mktemp("eks")
    variables = {"KUBECONFIG": str(cluster.kubeconfig), "KUBERNETES_NODES": json.dumps(NODES), "QUOTA_VCPUS": "64"}
    with running(folder, aws_authority, **variables) as emulator:
        yield emulator


def make_cluster(emulator: Emulator, name: str, version: str = "1.36") -> tuple[str, list[str]]:
    """A VPC with two private subnets and an EKS cluster in them."""
    ec2 = emulator.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.244.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=cidr, AvailabilityZone=zone)["Subnet"]["SubnetId"]
        for cidr, zone in (("10.244.0.0/20", "us-east-2a"), ("10.244.16.0/20", "us-east-2b"))
    ]
    emulator.client("eks").create_cluster(
        name=name,
        roleArn=ROLE,
        version=version,
        resourcesVpcConfig={"subnetIds": subnets, "endpointPrivateAccess": True},
        accessConfig={"authenticationMode": "API"},
    )
    return vpc, subnets


def make_nodes(emulator: Emulator, name: str, subnets: list[str], group: str = "default") -> None:
    emulator.client("eks").create_nodegroup(
        clusterName=name, nodegroupName=group, subnets=subnets, nodeRole=ROLE, instanceTypes=["m6i.large"]
    )


def instances(emulator: Emulator, name: str) -> list[dict[str, Any]]:
    filters = [
        {"Name": "tag:eks:cluster-name", "Values": [name]},
        {"Name": "instance-state-name", "Values": ["running"]},
    ]
    found = emulator.client("ec2").describe_instances(Filters=filters)["Reservations"]
    return [instance for reservation in found for instance in reservation["Instances"]]


def has_provider_id(cluster: Cluster, node: str, wanted: str) -> bool:
    return bool(cluster.nodes[node]["spec"].get("providerID") == wanted)


def test_cluster_is_the_real_one(emulator: Emulator, cluster: Cluster, aws_authority: Authority) -> None:
    vpc, subnets = make_cluster(emulator, "real")
    found = emulator.client("eks").describe_cluster(name="real")["cluster"]
    assert found["status"] == "ACTIVE"
    assert found["endpoint"] == cluster.endpoint.url
    assert base64.b64decode(found["certificateAuthority"]["data"]) == aws_authority.certificate.read_bytes()
    assert found["identity"]["oidc"]["issuer"] == ISSUER
    assert found["accessConfig"]["authenticationMode"] == "API"
    network = found["resourcesVpcConfig"]
    assert (network["vpcId"], network["subnetIds"]) == (vpc, subnets)
    assert (network["endpointPrivateAccess"], network["endpointPublicAccess"]) == (True, True)
    group = emulator.client("ec2").describe_security_groups(GroupIds=[network["clusterSecurityGroupId"]])
    tags = {t["Key"]: t["Value"] for t in group["SecurityGroups"][0]["Tags"]}
    assert tags["kubernetes.io/cluster/real"] == "owned"


def test_nodes_are_instances_that_hold_their_pods_addresses(emulator: Emulator, cluster: Cluster) -> None:
    vpc, subnets = make_cluster(emulator, "nodes")
    make_nodes(emulator, "nodes", subnets)
    found = {t["Value"]: i for i in instances(emulator, "nodes") for t in i["Tags"] if t["Key"] == "Name"}
    assert set(found) == {"node-1", "node-2"}
    for node, subnet, prefix in (("node-1", subnets[0], "10.244.0."), ("node-2", subnets[1], "10.244.16.")):
        interface = found[node]["NetworkInterfaces"][0]
        addresses = {a["PrivateIpAddress"] for a in interface["PrivateIpAddresses"]}
        assert interface["SubnetId"] == subnet
        assert {f"{prefix}{n}" for n in range(1, 255)} <= addresses
        assert not found[node]["PrivateIpAddress"].startswith(prefix)
        assert found[node]["SecurityGroups"][0]["GroupName"].startswith("eks-cluster-sg-nodes-")
        assert found[node]["VpcId"] == vpc
    # The cluster's nodes come up later than the node group.
    assert not cluster.nodes
    for name in found:
        cluster.add_node(name)
    for node, instance in found.items():
        wanted = f"aws:///{instance['Placement']['AvailabilityZone']}/{instance['InstanceId']}"
        until(partial(has_provider_id, cluster, node, wanted))
        zone = cluster.nodes[node]["metadata"]["labels"]["topology.kubernetes.io/zone"]
        assert zone == instance["Placement"]["AvailabilityZone"]
    assert cluster.endpoint.calls[-1].headers["authorization"] == "Bearer admin-token"


def test_nodes_of_a_cluster_made_anew_are_found_once(emulator: Emulator) -> None:
    _, subnets = make_cluster(emulator, "again")
    make_nodes(emulator, "again", subnets)
    before = sorted(each["InstanceId"] for each in instances(emulator, "again"))
    emulator.client("eks").delete_nodegroup(clusterName="again", nodegroupName="default")
    emulator.client("eks").delete_cluster(name="again")
    _, subnets = make_cluster(emulator, "again")
    make_nodes(emulator, "again", subnets)
    found = emulator.client("ec2").describe_instances(InstanceIds=before)["Reservations"]
    assert sorted(each["InstanceId"] for one in found for each in one["Instances"]) == before
    assert {each["State"]["Name"] for one in found for each in one["Instances"]} == {"running"}


def test_nodes_go_over_to_the_group_that_replaces_theirs(emulator: Emulator) -> None:
    _, subnets = make_cluster(emulator, "replaced")
    make_nodes(emulator, "replaced", subnets)
    before = {each["InstanceId"] for each in instances(emulator, "replaced")}
    make_nodes(emulator, "replaced", subnets, "next")
    emulator.client("eks").delete_nodegroup(clusterName="replaced", nodegroupName="default")
    found = instances(emulator, "replaced")
    assert {each["InstanceId"] for each in found} == before
    assert {tag["Value"] for each in found for tag in each["Tags"] if tag["Key"] == "eks:nodegroup-name"} == {"next"}
    emulator.client("eks").delete_nodegroup(clusterName="replaced", nodegroupName="next")
    assert instances(emulator, "replaced") == []


def test_instance_ids_outlive_the_emulator(tmp_path: Path, aws_authority: Authority, emulator: Emulator) -> None:
    with running(tmp_path, aws_authority, KUBERNETES_NODES=json.dumps(NODES)) as another:
        _, subnets = make_cluster(another, "nodes")
        make_nodes(another, "nodes", subnets)
        _, others = make_cluster(emulator, "ids")
        make_nodes(emulator, "ids", others)
        first = {i["InstanceId"] for i in instances(another, "nodes")}
        assert first == {i["InstanceId"] for i in instances(emulator, "nodes")}
        assert first.isdisjoint(i["InstanceId"] for i in instances(emulator, "ids"))


def test_deletion_leaves_no_instance_and_no_group(emulator: Emulator) -> None:
    vpc, subnets = make_cluster(emulator, "gone")
    make_nodes(emulator, "gone", subnets)
    eks, ec2 = emulator.client("eks"), emulator.client("ec2")
    with pytest.raises(ClientError, match="ResourceInUseException"):
        eks.delete_cluster(name="gone")
    eks.delete_nodegroup(clusterName="gone", nodegroupName="default")
    assert instances(emulator, "gone") == []
    eks.delete_cluster(name="gone")
    filters = [{"Name": "vpc-id", "Values": [vpc]}]
    assert [g["GroupName"] for g in ec2.describe_security_groups(Filters=filters)["SecurityGroups"]] == ["default"]
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        eks.describe_cluster(name="gone")


ADMIN = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"


def test_a_principal_has_one_access_entry(emulator: Emulator) -> None:
    """terraform-aws-modules/terraform-aws-eks#2968 has AWS's words."""
    make_cluster(emulator, "entries")
    eks = emulator.client("eks")
    creator = f"arn:aws:iam::{ROLE.split(':')[4]}:root"
    assert eks.list_access_entries(clusterName="entries")["accessEntries"] == [creator]
    [own] = eks.list_associated_access_policies(clusterName="entries", principalArn=creator)["associatedAccessPolicies"]
    assert (own["policyArn"], own["accessScope"]["type"]) == (ADMIN, "cluster")
    made = eks.create_access_entry(clusterName="entries", principalArn=ROLE, tags={"a": "b"})["accessEntry"]
    assert (made["type"], made["tags"], made["username"]) == (
        "STANDARD",
        {"a": "b"},
        f"arn:aws:sts::{ROLE.split(':')[4]}:assumed-role/x/{{{{SessionName}}}}",
    )
    for taken in (creator, ROLE):
        with pytest.raises(ClientError) as refused:
            eks.create_access_entry(clusterName="entries", principalArn=taken)
        assert refused.value.response["Error"] == {
            "Code": "ResourceInUseException",
            "Message": "The specified access entry resource is already in use on this cluster.",
        }
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 409
    assert eks.describe_access_entry(clusterName="entries", principalArn=ROLE)["accessEntry"] == made
    named = {"clusterName": "entries", "principalArn": ROLE}
    eks.associate_access_policy(**named, policyArn=ADMIN, accessScope={"type": "namespace", "namespaces": ["apps"]})
    [found] = eks.list_associated_access_policies(**named)["associatedAccessPolicies"]
    assert found["accessScope"] == {"type": "namespace", "namespaces": ["apps"]}
    eks.disassociate_access_policy(**named, policyArn=ADMIN)
    assert eks.list_associated_access_policies(**named)["associatedAccessPolicies"] == []
    eks.update_access_entry(**named, kubernetesGroups=["viewers"])
    assert eks.describe_access_entry(**named)["accessEntry"]["kubernetesGroups"] == ["viewers"]
    eks.delete_access_entry(**named)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        eks.describe_access_entry(**named)


def test_eks_admits_the_nodes_itself(emulator: Emulator) -> None:
    _, subnets = make_cluster(emulator, "admitted")
    make_nodes(emulator, "admitted", subnets)
    eks = emulator.client("eks")
    entry = eks.describe_access_entry(clusterName="admitted", principalArn=ROLE)["accessEntry"]
    assert (entry["type"], entry["kubernetesGroups"]) == ("EC2_LINUX", ["system:nodes"])
    with pytest.raises(ClientError, match="ResourceInUseException"):
        eks.create_access_entry(clusterName="admitted", principalArn=ROLE)


def test_entries_need_a_mode_that_has_them(emulator: Emulator) -> None:
    eks = emulator.client("eks")
    eks.create_cluster(name="config-map", roleArn=ROLE, resourcesVpcConfig={},
                       accessConfig={"authenticationMode": "CONFIG_MAP"})
    with pytest.raises(ClientError, match=r"must be set to one of \[API, API_AND_CONFIG_MAP\]"):
        eks.create_access_entry(clusterName="config-map", principalArn=ROLE)


def test_the_log_group_of_a_deleted_cluster_comes_back_once(emulator: Emulator) -> None:
    """terraform-aws-modules/terraform-aws-eks#2446"""
    eks, logs = emulator.client("eks"), emulator.client("logs")
    name = "/aws/eks/logging/cluster"

    def groups() -> list[dict[str, Any]]:
        return list(logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"])

    logs.create_log_group(logGroupName=name, tags={"Deployment": "logging"})
    logs.put_retention_policy(logGroupName=name, retentionInDays=30)
    logging = {"clusterLogging": [{"types": ["api"], "enabled": True}]}
    eks.create_cluster(name="logging", roleArn=ROLE, resourcesVpcConfig={}, logging=logging)
    eks.delete_cluster(name="logging")
    logs.delete_log_group(logGroupName=name)
    [anew] = groups()
    assert "retentionInDays" not in anew
    assert logs.list_tags_for_resource(resourceArn=anew["arn"].removesuffix(":*"))["tags"] == {}
    with pytest.raises(ClientError, match="ResourceAlreadyExistsException"):
        logs.create_log_group(logGroupName=name)
    logs.delete_log_group(logGroupName=name)
    assert groups() == []


def test_versions_have_an_order(emulator: Emulator) -> None:
    """https://docs.aws.amazon.com/eks/latest/userguide/update-cluster.html"""
    eks = emulator.client("eks")
    cluster = {"name": "versions", "roleArn": ROLE, "resourcesVpcConfig": {}}
    for unknown in ("1.22", "2.0"):
        with pytest.raises(ClientError, match=f"unsupported Kubernetes version {unknown}") as refused:
            eks.create_cluster(**cluster, version=unknown)
        assert refused.value.response["Error"]["Code"] == "InvalidParameterException"
    assert eks.create_cluster(**cluster | {"name": "newest"})["cluster"]["version"] == "1.36"
    eks.delete_cluster(name="newest")
    assert eks.create_cluster(**cluster, version="1.34")["cluster"]["version"] == "1.34"
    for wanted in ("1.34", "1.36", "1.33"):
        with pytest.raises(ClientError, match=f"Unsupported Kubernetes minor version update from 1.34 to {wanted}"):
            eks.update_cluster_version(name="versions", version=wanted)
    update = eks.update_cluster_version(name="versions", version="1.35")["update"]
    assert eks.describe_update(name="versions", updateId=update["id"])["update"]["status"] == "Successful"
    assert eks.describe_cluster(name="versions")["cluster"]["version"] == "1.35"
    [found] = eks.describe_cluster_versions(clusterVersions=["1.34"])["clusterVersions"]
    assert found["endOfStandardSupportDate"].date().isoformat() == "2026-12-02"
    assert found["endOfExtendedSupportDate"].date().isoformat() == "2027-12-02"
    newest = eks.describe_cluster_versions()["clusterVersions"][0]
    assert (newest["clusterVersion"], newest["defaultVersion"]) == ("1.36", True)
    assert newest["endOfStandardSupportDate"].date().isoformat() == "2027-08-02"


def test_each_version_of_kubernetes_has_its_add_ons(emulator: Emulator) -> None:
    eks = emulator.client("eks")
    [found] = eks.describe_addon_versions(addonName="vpc-cni", kubernetesVersion="1.35")["addons"]
    [version] = found["addonVersions"]
    [compatible] = version["compatibilities"]
    assert (found["addonName"], compatible["clusterVersion"], compatible["defaultVersion"]) == ("vpc-cni", "1.35", True)
    assert eks.describe_addon_versions(addonName="vpc-csi")["addons"] == []
    every = {each["addonName"]: each["addonVersions"] for each in eks.describe_addon_versions()["addons"]}
    assert len(every["metrics-server"]) > 1


def test_nodes_follow_their_cluster_and_never_lead(emulator: Emulator) -> None:
    """https://docs.aws.amazon.com/eks/latest/APIReference/API_UpdateNodegroupVersion.html"""
    eks, ec2 = emulator.client("eks"), emulator.client("ec2")
    _, subnets = make_cluster(emulator, "nodes-version", "1.34")
    template = ec2.create_launch_template(
        LaunchTemplateName="nodes-version", LaunchTemplateData={"MetadataOptions": {"HttpTokens": "required"}}
    )["LaunchTemplate"]["LaunchTemplateId"]
    group = {"clusterName": "nodes-version", "nodegroupName": "default"}
    eks.create_nodegroup(**group, subnets=subnets, nodeRole=ROLE, launchTemplate={"id": template, "version": "1"})

    def found() -> dict[str, Any]:
        return dict(eks.describe_nodegroup(**group)["nodegroup"])

    with pytest.raises(ClientError, match=r"1\.35 .* not valid for a cluster of version 1\.34") as refused:
        eks.update_nodegroup_version(**group, version="1.35")
    assert refused.value.response["Error"]["Code"] == "InvalidParameterException"
    eks.update_cluster_version(name="nodes-version", version="1.35")
    assert found()["version"] == "1.34"
    update = eks.update_nodegroup_version(**group)["update"]
    assert found()["version"] == "1.35"
    assert found()["releaseVersion"].startswith("1.35.")
    described = eks.describe_update(name="nodes-version", nodegroupName="default", updateId=update["id"])["update"]
    assert (described["status"], described["type"]) == ("Successful", "VersionUpdate")
    with pytest.raises(ClientError, match=r"1\.34 .* has 1\.35"):
        eks.update_nodegroup_version(**group, version="1.34")
    eks.update_nodegroup_version(**group, launchTemplate={"id": template, "version": "2"})
    assert found()["launchTemplate"] == {"name": "nodes-version", "id": template, "version": "2"}
    sizes = {"minSize": 1, "maxSize": 5, "desiredSize": 2}
    update = eks.update_nodegroup_config(**group, scalingConfig=sizes)["update"]
    assert eks.describe_update(name="nodes-version", updateId=update["id"])["update"]["type"] == "ConfigUpdate"
    assert found()["scalingConfig"] == sizes
    for given, said in (
        ({"minSize": 3}, "Minimum capacity 3 can't be greater than desired size 2"),
        ({"maxSize": 1}, "desiredSize can't be greater than maxSize"),
    ):
        with pytest.raises(ClientError, match=said) as refused:
            eks.update_nodegroup_config(**group, scalingConfig=given)
        assert refused.value.response["Error"]["Code"] == "InvalidParameterException"
        assert found()["scalingConfig"] == sizes
    more: dict[str, Any] = group | {"nodegroupName": "other", "subnets": subnets, "nodeRole": ROLE}
    for types, image, said in (
        (["m6i.large", "m7g.large"], "AL2023_x86_64_STANDARD", "m7g.large"),
        (["m6i.large"], "BOTTLEROCKET_ARM_64", "m6i.large"),
    ):
        with pytest.raises(ClientError, match=rf"\[{said}\] is not a valid .* for requested amiType {image}"):
            eks.create_nodegroup(**more, instanceTypes=types, amiType=image)
    other = {"minSize": 2, "maxSize": 3, "desiredSize": 1}
    with pytest.raises(ClientError, match="minSize can't be greater than desiredSize"):
        eks.create_nodegroup(**more, scalingConfig=other)


def test_a_clusters_settings_change_one_kind_at_a_time(emulator: Emulator) -> None:
    """https://docs.aws.amazon.com/eks/latest/APIReference/API_UpdateClusterConfig.html"""
    eks = emulator.client("eks")
    _, subnets = make_cluster(emulator, "settings")
    private = {"endpointPublicAccess": False, "endpointPrivateAccess": True}
    update = eks.update_cluster_config(name="settings", resourcesVpcConfig=private)["update"]
    assert eks.describe_update(name="settings", updateId=update["id"])["update"]["type"] == "EndpointAccessUpdate"
    network = eks.describe_cluster(name="settings")["cluster"]["resourcesVpcConfig"]
    assert (network["endpointPublicAccess"], network["subnetIds"]) == (False, subnets)
    assert network["clusterSecurityGroupId"]
    with pytest.raises(ClientError, match="No changes needed"):
        eks.update_cluster_config(name="settings", resourcesVpcConfig=private)
    with pytest.raises(ClientError, match="one type of update"):
        eks.update_cluster_config(
            name="settings", resourcesVpcConfig=private, accessConfig={"authenticationMode": "API"}
        )
    eks.update_cluster_config(name="settings", upgradePolicy={"supportType": "STANDARD"})
    assert eks.describe_cluster(name="settings")["cluster"]["upgradePolicy"] == {"supportType": "STANDARD"}


def test_a_cluster_with_ipv6_addresses_is_refused_by_name(emulator: Emulator) -> None:
    with pytest.raises(ClientError, match="ipFamily ipv6") as refused:
        emulator.client("eks").create_cluster(
            name="ipv6", roleArn=ROLE, resourcesVpcConfig={}, kubernetesNetworkConfig={"ipFamily": "ipv6"}
        )
    assert refused.value.response["Error"]["Code"] == "InvalidParameterException"


@pytest.mark.parametrize(
    ("today", "status"),
    [("2026-12-02", "STANDARD_SUPPORT"), ("2026-12-03", "EXTENDED_SUPPORT"), ("2027-12-03", "UNSUPPORTED")],
)
def test_support_of_a_version_ends_twice(today: str, status: str) -> None:
    from iot_sandbox.aws import eks_versions  # noqa: PLC0415 - moto reads its settings at import

    day = date.fromisoformat(today)
    [found] = eks_versions.descriptions(["1.34"], day)
    assert found["versionStatus"] == status
    supported = [each["clusterVersion"] for each in eks_versions.descriptions(None, day)]
    assert supported[0] == "1.36"
    assert ("1.34" in supported) == (status != "UNSUPPORTED")
    if status == "UNSUPPORTED":
        with pytest.raises(Exception, match=r"version 1\.34"):
            eks_versions.check("1.34", day)
    else:
        eks_versions.check("1.34", day)


def test_an_add_on_without_the_role_that_it_needs_is_degraded(emulator: Emulator) -> None:
    """hashicorp-education/learn-terraform-provision-eks-cluster#108"""
    eks = emulator.client("eks")
    eks.create_cluster(name="addons", roleArn=ROLE, resourcesVpcConfig={})
    driver = {"clusterName": "addons", "addonName": "aws-ebs-csi-driver"}

    def addon() -> dict[str, Any]:
        return dict(eks.describe_addon(**driver)["addon"])

    eks.create_addon(**driver, tags={"a": "b"})
    assert (addon()["status"], addon()["tags"]) == ("DEGRADED", {"a": "b"})
    [issue] = addon()["health"]["issues"]
    assert issue["code"] == "InsufficientNumberOfReplicas"
    with pytest.raises(ClientError, match="Addon already exists") as refused:
        eks.create_addon(**driver)
    assert refused.value.response["Error"]["Code"] == "ResourceInUseException"
    update = eks.update_addon(**driver, serviceAccountRoleArn=ROLE)["update"]
    assert eks.describe_update(name="addons", updateId=update["id"])["update"]["type"] == "AddonUpdate"
    assert (addon()["status"], addon()["health"]["issues"]) == ("ACTIVE", [])
    eks.create_addon(clusterName="addons", addonName="coredns", addonVersion="v1.12.4-eksbuild.1")
    assert eks.list_addons(clusterName="addons")["addons"] == ["aws-ebs-csi-driver", "coredns"]
    assert eks.describe_addon(clusterName="addons", addonName="coredns")["addon"]["status"] == "ACTIVE"
    eks.delete_addon(**driver)
    with pytest.raises(ClientError, match="No addon: aws-ebs-csi-driver found in cluster: addons"):
        addon()
