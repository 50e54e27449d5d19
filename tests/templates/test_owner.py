"""What the roles take for theirs: the domain's record, a cluster's load balancer controller, hosts under Ansible."""

from typing import Any

import pytest

from tests.templates.render import variable

BALANCER = "staging-1234567890.us-east-2.elb.amazonaws.com"


def record(kind: str = "A", alias: str = "", value: str = "", name: str = "in.example.com.") -> dict[str, Any]:
    """A record set as route53_info returns it."""
    target = {"alias_target": {"dns_name": alias}} if alias else {"resource_records": [{"value": value}]}
    return {"name": name, "type": kind, **target}


def foreign(*records: dict[str, Any]) -> Any:
    """What the domain points to that is not deployment staging's."""
    return variable(
        "receiver",
        "__receiver_records_foreign",
        deployment_name="staging",
        receiver_domain="in.example.com",
        receiver_records={"resource_record_sets": list(records)},
    )


@pytest.mark.parametrize("alias", [BALANCER, f"{BALANCER}.", f"dualstack.{BALANCER}.", "staging-1.us-east-2.elb"])
def test_a_record_of_an_earlier_load_balancer_is_ours(alias: str) -> None:
    assert foreign(record(alias=alias)) == []


@pytest.mark.parametrize("record_set", [
    record(alias="dualstack.prod-1234567890.us-east-2.elb.amazonaws.com."),
    record(alias="staging-2-1234567890.us-east-2.elb.amazonaws.com"),
    record(alias="d111111abcdef8.cloudfront.net."),
    record(value="192.0.2.1"),
    record("AAAA", value="2001:db8::1"),
    record("CNAME", value="www.example.org."),
])  # fmt: skip
def test_another_record_is_anothers(record_set: dict[str, Any]) -> None:
    target = record_set.get("alias_target", {}).get("dns_name") or record_set["resource_records"][0]["value"]
    assert foreign(record_set) == [target]


def test_records_of_other_names_and_kinds_do_not_count() -> None:
    assert foreign(record(name="other.example.com.", value="192.0.2.1"), record("TXT", value='"x"')) == []
    assert foreign() == []


def ingress_class(owner: str = "", release: str = "aws-load-balancer-controller") -> dict[str, Any]:
    """The class alb as Helm leaves it."""
    annotations = {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": "kube-system"}
    labels = {"app.kubernetes.io/part-of": owner} if owner else {}
    return {"metadata": {"name": "alb", "annotations": annotations, "labels": labels}}


@pytest.mark.parametrize(("classes", "own_cluster", "adopt", "ours"), [
    ([], False, False, True),
    ([ingress_class("staging")], False, False, True),
    ([ingress_class("prod")], True, True, False),
    ([ingress_class()], True, False, True),  # made by version 1 on its own cluster
    ([ingress_class()], False, False, False),
    ([ingress_class()], False, True, True),
    ([ingress_class(release="alb")], True, True, False),
    ([{"metadata": {"name": "alb"}}], True, True, False),  # EKS Auto Mode's
])  # fmt: skip
def test_whose_the_controller_is(classes: list[dict[str, Any]], own_cluster: bool, adopt: bool, ours: bool) -> None:
    is_ours = variable(
        "load_balancer_controller",
        "__load_balancer_controller_is_ours",
        deployment_name="staging",
        terraform_enabled=own_cluster,
        deployment_adopt=adopt,
        load_balancer_controller_class={"resources": classes},
    )
    assert is_ours is ours


def test_others_certificates_of_the_domain_need_its_validation_record() -> None:
    certificates = [
        {"certificate_arn": "ours", "tags": {"Deployment": "staging"}},
        {"certificate_arn": "prods", "tags": {"Deployment": "prod"}},
        {"certificate_arn": "nobodys", "tags": {}},
    ]
    found = variable(
        "terraform",
        "__terraform_certificates_of_others",
        deployment_name="staging",
        terraform_certificates={"certificates": certificates},
    )
    assert [one["certificate_arn"] for one in found] == ["nobodys", "prods"]


def test_devices_are_those_of_hosts_that_the_deployment_has() -> None:
    hosts: dict[str, dict[str, Any]] = {
        "a": {}, "b": {"device_thing": "cellar"}, "gone": {"device_state": "absent"},
        "ours": {"device_deployment": "prod"}, "others": {"device_deployment": "staging"},
    }  # fmt: skip
    given = {"groups": {"edge": list(hosts)}, "deployment_name": "prod",
             "hostvars": {name: {"inventory_hostname": name, **values} for name, values in hosts.items()}}  # fmt: skip
    assert set(variable("deployment_defaults", "deployment_devices", **given)) == {"a", "cellar", "ours"}
    assert set(variable("deployment_defaults", "deployment_edge_hosts", **given)) == {"a", "b", "gone", "ours"}


def test_others_alone_keep_the_controller() -> None:
    bindings = {"resources": [{"metadata": {"namespace": each}} for each in ("staging", "shop", "shop")]}
    users = variable("load_balancer_controller", "__load_balancer_controller_users", deployment_name="staging",
                     load_balancer_controller_bindings=bindings)  # fmt: skip
    assert users == ["shop"]


@pytest.mark.parametrize(
    ("network", "held_up"), [("vpc-own", ["shop/shop"]), ("vpc-other", []), ("", [])], ids=["own", "other", "account"]
)
def test_only_nodes_and_a_load_balancer_in_the_own_network_hold_up_the_end(network: str, held_up: list[str]) -> None:
    address = "k8s-shop-1.us-east-2.elb.amazonaws.com"
    ingress = {"metadata": {"namespace": "shop", "name": "shop"},
               "status": {"loadBalancer": {"ingress": [{"hostname": address}]}}}  # fmt: skip
    found = [[], [], [ingress], [{"metadata": {"name": "theirs"}}]]  # volume claims, Services, Ingresses, NodeClaims
    balancers = [{"dns_name": address, "vpc_id": network}] if network else []
    value = variable(
        "deployment_facts",
        "__deployment_facts_left_behind",
        infrastructure_vpc_id="vpc-own",
        deployment_facts_holdings={"results": [{"resources": each} for each in found]},
        deployment_facts_load_balancers={"load_balancers": balancers},
    )
    assert value == [*held_up, "NodeClaim theirs"]
