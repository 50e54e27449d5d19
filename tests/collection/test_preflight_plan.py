"""What role preflight finds in Terraform's plan before it is applied: quotas, versions, costs."""

import json
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.iotweb.deployment.plugins.modules import preflight_plan
from botocore.exceptions import ClientError

from tests.support.paths import ROOT

PRICES = yaml.safe_load((ROOT / "roles/preflight/vars/main/prices.yml").read_text())["__preflight_prices"]
Values = dict[str, Any]
VCPUS = {"m6i.large": 2, "m6i.xlarge": 4, "m7g.large": 2, "g5.xlarge": 4}


def group(types: list[str], count: int) -> Values:
    return {"instance_types": types, "scaling_config": [{"min_size": 1, "max_size": 9, "desired_size": count}]}


def planned(kind: str, *values: Values) -> list[Values]:
    return [{"type": kind, "mode": "managed", "values": each} for each in values]


def change(kind: str, actions: list[str], before: Values | None = None, after: Values | None = None) -> Values:
    return {"type": kind, "mode": "managed", "change": {"actions": actions, "before": before, "after": after}}


def plan(nodes: Values, gateways: int = 3, actions: tuple[str, ...] = ("create",)) -> Values:
    """A plan of a new deployment, as `terraform show -json` has it."""
    public = [{"tags": {"kubernetes.io/role/elb": "1"}}] * 3
    template = {"block_device_mappings": [{"ebs": [{"volume_size": 50}]}]}
    resources = [
        *planned("aws_eks_cluster", {"version": "1.35"}),
        *planned("aws_eks_node_group", nodes),
        *planned("aws_launch_template", template),
        *planned("aws_nat_gateway", *[{}] * gateways),
        *planned("aws_eip", *[{}] * gateways),
        *planned("aws_subnet", *public, {"tags": {"kubernetes.io/role/internal-elb": "1"}}),
        *planned("aws_kms_key", {}),
        *planned("aws_secretsmanager_secret", {}),
        *planned("aws_cloudwatch_metric_alarm", *[{}] * 4),
    ]
    return {
        "planned_values": {"root_module": {"child_modules": [{"resources": resources}]}},
        "resource_changes": [
            change("aws_eks_cluster", ["create"], None, {"version": "1.35"}),
            change("aws_eks_node_group", list(actions), None, nodes),
            *[change("aws_eip", ["create"], None, {})] * gateways,
        ],
    }


class Account:
    """EC2 and Service Quotas of an account, as boto3's clients."""

    def __init__(self, quota: int, running: tuple[str, ...] = (), addresses: int = 0, denied: str = "") -> None:
        self.quota, self.running, self.addresses, self.denied = quota, running, addresses, denied
        self.name = ""
        self.added: list[Values] = []

    def client(self, _service: str, **_: Any) -> "Account":
        return self

    def get_paginator(self, name: str) -> "Account":
        self.name = name
        return self

    def paginate(self, **wanted: Any) -> list[Values]:
        if self.name == "describe_instance_types":
            return [{"InstanceTypes": [
                {"InstanceType": name, "VCpuInfo": {"DefaultVCpus": VCPUS[name]}} for name in wanted["InstanceTypes"]
            ]}]  # fmt: skip
        spot = {"InstanceType": "m6i.xlarge", "InstanceLifecycle": "spot"}
        found = [*({"InstanceType": name} for name in self.running), *self.added, spot]
        return [{"Reservations": [{"Instances": found}]}]

    def describe_addresses(self) -> Values:
        return {"Addresses": [{}] * self.addresses}

    def get_service_quota(self, ServiceCode: str, QuotaCode: str) -> Values:  # noqa: N803 - boto3's names
        assert ServiceCode == "ec2"
        if QuotaCode == self.denied:
            error = {"Error": {"Code": "AccessDeniedException", "Message": "not authorized"}}
            raise ClientError(error, "GetServiceQuota")
        return {"Quota": {"Value": float(self.quota)}}


Ask = Callable[..., Values]


@pytest.fixture(name="ask")
def _ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Run the module on a plan and an account."""

    def ask(content: Values, account: Any, **more: Any) -> Values:
        program = tmp_path / "terraform"
        program.write_text(f"#!{sys.executable}\nprint({json.dumps(json.dumps(content))})\n")
        program.chmod(0o755)
        monkeypatch.setattr(boto3.session, "Session", lambda region_name: account)
        arguments = {"chdir": str(tmp_path), "executable": str(program), "plan": "p", "region": "us-east-2"}
        printed = StringIO()
        with (
            patch_module_args(arguments | {"prices": PRICES} | more),
            redirect_stdout(printed),
            pytest.raises(SystemExit),
        ):
            preflight_plan.main()
        found: Values = json.loads(printed.getvalue().splitlines()[-1])
        return found

    return ask


def test_a_fresh_account_is_refused_with_both_ways_out(ask: Ask) -> None:
    [fault] = ask(plan(group(["m6i.large"], 3)), Account(quota=5))["faults"]
    assert fault.startswith("The plan needs 6 vCPU, 0 are in use, and the account may have 5 in us-east-2")
    assert "--quota-code L-1216C47A --desired-value 6 --region us-east-2. Or lower node_count" in fault


def test_what_others_use_counts_and_spot_does_not(ask: Ask) -> None:
    wanted = plan(group(["m6i.large"], 3))
    assert ask(wanted, Account(quota=10, running=("m6i.xlarge", "g5.xlarge"), addresses=7))["faults"] == []
    cpus, addresses = ask(wanted, Account(quota=9, running=("m6i.xlarge",), addresses=7))["faults"]
    assert "needs 6 vCPU, 4 are in use" in cpus
    assert "needs 3 elastic addresses, 7 are in use, and the account may have 9" in addresses
    assert "nat_gateways: single" in addresses


def test_nodes_that_replace_others_need_room_beside_them(ask: Ask) -> None:
    wanted = plan(group(["m7g.large"], 3), gateways=0, actions=("create", "delete"))
    [fault] = ask(wanted, Account(quota=8, running=("m6i.large",) * 3))["faults"]
    assert "needs 6 vCPU, 6 are in use" in fault


def test_the_largest_type_of_a_group_counts(ask: Ask) -> None:
    [fault] = ask(plan(group(["m6i.large", "m6i.xlarge"], 2), gateways=0), Account(quota=7))["faults"]
    assert "needs 8 vCPU" in fault


def test_what_karpenter_may_add_needs_room_and_counts_once(ask: Ask) -> None:
    wanted: Values = {"added_nodes": 4, "added_types": ["m6i.large", "m6i.xlarge"], "node_pool": "ours"}
    account = Account(quota=21)
    [fault] = ask(plan(group(["m6i.large"], 3), gateways=0), account, **wanted)["faults"]
    assert fault.startswith("The plan needs 22 vCPU with the 4 nodes that Karpenter may add, 0 are in use")
    assert "karpenter_max_nodes" in fault
    nothing = plan(group(["m6i.large"], 3), gateways=0, actions=("update",))
    account.added = [{"InstanceType": "m6i.xlarge", "Tags": [{"Key": "karpenter.sh/nodepool", "Value": "ours"}]}] * 2
    assert ask(nothing, account, **wanted)["faults"] == []
    [fault] = ask(nothing, account, **wanted | {"node_pool": "theirs"})["faults"]
    assert "needs 16 vCPU with the 4 nodes that Karpenter may add, 8 are in use" in fault


def test_families_of_another_quota_are_left_out(ask: Ask) -> None:
    assert ask(plan(group(["g5.xlarge"], 3), gateways=0), Account(quota=1))["faults"] == []


def test_a_plan_without_new_nodes_asks_nothing(ask: Ask) -> None:
    wanted = plan(group(["m6i.large"], 3), gateways=0, actions=("update",))
    assert ask(wanted, None)["faults"] == []


@pytest.mark.parametrize(("code", "what"), [("L-1216C47A", "vCPU"), ("L-0263D0A3", "elastic addresses")])
def test_what_may_not_be_asked_is_a_note(ask: Ask, code: str, what: str) -> None:
    found = ask(plan(group(["m6i.large"], 3)), Account(quota=9, denied=code))
    assert found["faults"] == []
    [note] = found["notes"]
    assert note.startswith(f"Whether the account may have so many {what} could not be checked")
    assert "AccessDenied" in note


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("1.33", "1.35", "goes up one minor version at a time. Set cluster_version to 1.34"),
        ("1.36", "1.35", "Set cluster_version to 1.36."),
        ("1.34", "1.35", None),
        ("1.35", "1.35", None),
    ],
)
@pytest.mark.parametrize("actions", [["update"], ["delete", "create"]])
def test_steps_of_the_version_that_eks_refuses_are_refused(
    ask: Ask, before: str, after: str, said: str | None, actions: list[str]
) -> None:
    content = {
        "planned_values": {"root_module": {}},
        "resource_changes": [change("aws_eks_cluster", actions, {"version": before}, {"version": after})],
    }
    faults = ask(content, None)["faults"]
    assert len(faults) == (0 if said is None else 1)
    assert said is None or said in faults[0]


def test_costs_are_added_up_by_line(ask: Ask) -> None:
    found = ask(plan(group(["m6i.large"], 3)), Account(quota=99))
    assert found["creates_cluster"]
    assert found["costs"] == [
        "control plane           73.00",
        "3 nodes m6i.large      210.24",
        "3 disks of 50 GiB       12.00",
        "3 NAT gateways          98.55",
        "load balancer           16.43",
        "6 public addresses      21.90",
        "keys, secret, alarms     1.80",
        "together               433.92",
    ]


def test_a_type_without_a_price_is_named_not_guessed(ask: Ask) -> None:
    lines = ask(plan(group(["g5.xlarge"], 2), gateways=1), Account(quota=99))["costs"]
    assert "2 nodes g5.xlarge     not in the table" in lines
    assert lines[-1].split() == ["at", "least", "146.68"]


def test_the_volume_counts_and_logs_are_priced_by_the_gb(ask: Ask) -> None:
    wanted = plan(group(["m6i.large"], 3))
    cluster = wanted["planned_values"]["root_module"]["child_modules"][0]["resources"][0]["values"]
    cluster["enabled_cluster_log_types"] = ["audit"]
    lines = [line.rsplit(maxsplit=1) for line in ask(wanted, Account(quota=99), volume_gib=50)["costs"]]
    assert ["Prometheus' volume of 50 GiB", "4.00"] in lines
    assert lines[-2:] == [["together", "437.92"], ["and each GB of the cluster's logs", "0.50"]]


@pytest.mark.parametrize(
    ("least", "most", "wanted"),
    [(4, 9, "minSize=4,maxSize=9,desiredSize=4"), (1, 2, "minSize=1,maxSize=2,desiredSize=2"), (1, 3, None)],
)
def test_limits_that_exclude_the_present_nodes_are_refused(ask: Ask, least: int, most: int, wanted: str | None) -> None:
    """Terraform leaves the number of a group's nodes alone, so EKS would refuse, minutes later."""
    sizes = {"min_size": least, "max_size": most, "desired_size": 3}
    after = {
        "cluster_name": "c",
        "node_group_name": "default-1",
        "instance_types": ["m6i.large"],
        "scaling_config": [sizes],
    }
    content = {
        "planned_values": {"root_module": {}},
        "resource_changes": [change("aws_eks_node_group", ["update"], after, after)],
    }
    faults = ask(content, None)["faults"]
    assert len(faults) == (0 if wanted is None else 1)
    assert wanted is None or f"--nodegroup-name default-1 --scaling-config {wanted} --region us-east-2" in faults[0]


def test_the_zones_name_servers_are_those_that_the_plan_has_read(ask: Ask) -> None:
    content = plan(group(["m6i.large"], 3))
    zone = {"type": "aws_route53_zone", "mode": "data", "values": {"name_servers": ["NS-1.awsdns-1.com."]}}
    content["prior_state"] = {"values": {"root_module": {"child_modules": [{"resources": [zone]}]}}}
    assert ask(content, Account(quota=99))["zone_name_servers"] == ["ns-1.awsdns-1.com"]
    assert ask(plan(group(["m6i.large"], 3)), Account(quota=99))["zone_name_servers"] == []
