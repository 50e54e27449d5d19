"""What an account holds of a deployment, seen from outside."""

from collections.abc import Callable
from typing import Any

import boto3

ENDPOINT = "http://10.213.0.1:4566"
DEFAULT_RECORDS = {"NS", "SOA"}

Client = Any


def aws(service: str) -> Client:
    """A boto3 client of the emulated account."""
    session = boto3.Session(aws_access_key_id="outsider", aws_secret_access_key="outsider", region_name="us-east-2")
    return session.client(service, endpoint_url=ENDPOINT)  # type: ignore[call-overload]


def records(client: Client) -> list[str]:
    zones = client.list_hosted_zones()["HostedZones"]
    sets = [
        each
        for zone in zones
        for each in client.list_resource_record_sets(HostedZoneId=zone["Id"])["ResourceRecordSets"]
    ]
    return [f"{each['Name']} {each['Type']}" for each in sets if each["Type"] not in DEFAULT_RECORDS]


def network(client: Client) -> list[str]:
    """What is left in networks that are not the account's default one."""
    own = [vpc["VpcId"] for vpc in client.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]]
    groups = client.describe_security_groups()["SecurityGroups"]
    return [*own, *(group["GroupName"] for group in groups if group["GroupName"] != "default")]


def instances(client: Client) -> list[str]:
    found = [each for reservation in client.describe_instances()["Reservations"] for each in reservation["Instances"]]
    return [each["InstanceId"] for each in found if each["State"]["Name"] != "terminated"]


def undeleted(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that exist: EC2 lists deleted ones for a while."""
    return [each for each in found if each["State"] != "deleted"]


def keys(client: Client) -> list[str]:
    """Keys that are not scheduled for deletion, which takes days; those with an alias of AWS's are AWS's."""
    managed = {
        each["TargetKeyId"] for each in client.list_aliases()["Aliases"] if each["AliasName"].startswith("alias/aws/")
    }
    found = [client.describe_key(KeyId=key["KeyId"])["KeyMetadata"] for key in client.list_keys()["Keys"]]
    return [key["KeyId"] for key in found if key["KeyId"] not in managed and key["KeyState"] != "PendingDeletion"]


def ours(roles: list[dict[str, Any]]) -> list[str]:
    return [role["RoleName"] for role in roles if not role["Path"].startswith("/aws-service-role/")]


def policies(client: Client) -> list[str]:
    """Those but the operator's own."""
    found = [policy["PolicyName"] for policy in client.list_policies(Scope="Local")["Policies"]]
    return [name for name in found if not name.startswith("operator-policy-")]


LOOKS: dict[str, tuple[str, Callable[[Client], Any]]] = {
    "things": ("iot", lambda client: client.list_things()["things"]),
    "certificates": ("iot", lambda client: client.list_certificates()["certificates"]),
    "device policies": ("iot", lambda client: client.list_policies()["policies"]),
    "rules": ("iot", lambda client: client.list_topic_rules()["rules"]),
    "destinations": ("iot", lambda client: client.list_topic_rule_destinations()["destinationSummaries"]),
    "repositories": ("ecr", lambda client: client.describe_repositories()["repositories"]),
    "load balancers": ("elbv2", lambda client: client.describe_load_balancers()["LoadBalancers"]),
    "target groups": ("elbv2", lambda client: client.describe_target_groups()["TargetGroups"]),
    "networks": ("ec2", network),
    "instances": ("ec2", instances),
    "volumes": ("ec2", lambda client: client.describe_volumes()["Volumes"]),
    "addresses": ("ec2", lambda client: client.describe_addresses()["Addresses"]),
    "launch templates": ("ec2", lambda client: client.describe_launch_templates()["LaunchTemplates"]),
    "NAT gateways": ("ec2", lambda client: undeleted(client.describe_nat_gateways()["NatGateways"])),
    "endpoints": ("ec2", lambda client: undeleted(client.describe_vpc_endpoints()["VpcEndpoints"])),
    "clusters": ("eks", lambda client: client.list_clusters()["clusters"]),
    "tables": ("dynamodb", lambda client: client.list_tables()["TableNames"]),
    "queues": ("sqs", lambda client: client.list_queues().get("QueueUrls", [])),
    "secrets": ("secretsmanager", lambda client: client.list_secrets(IncludePlannedDeletion=True)["SecretList"]),
    "roles": ("iam", lambda client: ours(client.list_roles()["Roles"])),
    "policies": ("iam", policies),
    "identity providers": (
        "iam",
        lambda client: client.list_open_id_connect_providers()["OpenIDConnectProviderList"],
    ),
    "log groups": ("logs", lambda client: client.describe_log_groups()["logGroups"]),
    "records": ("route53", records),
    "server certificates": ("acm", lambda client: client.list_certificates()["CertificateSummaryList"]),
    "alarms": ("cloudwatch", lambda client: client.describe_alarms()["MetricAlarms"]),
    "keys": ("kms", keys),
}
