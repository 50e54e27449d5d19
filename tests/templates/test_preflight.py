"""What preflight refuses and what it warns of, by the inventory alone."""

from typing import Any

import pytest

from tests.templates.render import variable

DRIVER: dict[str, Any] = {"aws-ebs-csi-driver": {}}
SCALED, VOLUME = {"receiver_autoscaling": True}, {"kube_prometheus_stack_storage_size": "50Gi"}


def faults(name: str, addons: dict[str, Any], **variables: Any) -> list[str]:
    """Those about a variable."""
    checks = variable(
        "preflight", f"__preflight_checks | selectattr('fault', 'search', '^{name} ')", terraform_enabled=True,
        terraform_variables={"cluster_addons": addons}, role_path="roles/preflight",
        preflight_tools_found={"machine": "x86_64"}, aws_account_id="123456789012", aws_region="us-east-2", **variables,
    )  # fmt: skip
    return [check["fault"] for check in checks if not check["holds"]]


@pytest.mark.parametrize(
    ("addons", "variables", "refused"),
    [
        ({}, VOLUME, True),
        (DRIVER, VOLUME, False),
        ({}, {"kube_prometheus_stack_storage_size": ""}, False),
        ({}, VOLUME | {"kube_prometheus_stack_storage_class": "own"}, False),
        ({}, VOLUME | {"kube_prometheus_stack_enabled": False}, False),
    ],
)
def test_a_volume_needs_what_makes_it(addons: dict[str, Any], variables: dict[str, Any], refused: bool) -> None:
    found = faults("kube_prometheus_stack_storage_size", addons, **variables)
    assert bool(found) is refused
    assert all("Add aws-ebs-csi-driver to cluster_addons" in each for each in found)


@pytest.mark.parametrize(
    ("addons", "refused"), [(DRIVER, True), (DRIVER | {"metrics-server": {}}, False), ({}, False)]
)
def test_autoscaling_needs_metrics(addons: dict[str, Any], refused: bool) -> None:
    assert bool(faults("receiver_autoscaling", addons, **SCALED)) is refused
    assert faults("receiver_autoscaling", addons, receiver_autoscaling=False) == []


@pytest.mark.parametrize(
    ("architecture", "types", "refused"),
    [
        ("x86_64", ["m6i.large", "g5.xlarge", "mac1.metal"], False),
        ("x86_64", ["m6i.large", "m7g.large"], True),
        ("arm64", ["c6gn.large", "a1.large", "im4gn.large"], False),
        ("arm64", ["m7g.large", "m6i.large"], True),
    ],
)
def test_karpenter_adds_nodes_of_the_architecture(architecture: str, types: list[str], refused: bool) -> None:
    given: dict[str, Any] = {"architecture": architecture, "karpenter_instance_types": types}
    assert bool(faults("karpenter_instance_types", {}, **given)) is refused


@pytest.mark.parametrize(
    ("variables", "noted"),
    [
        ({}, []),  # a sandbox's inventory
        ({"terraform_variables": {"alarm_topic_arn": ""}}, ["alarm_topic_arn"]),
        ({"kube_prometheus_stack_alert_receivers": []}, ["kube_prometheus_stack_alert_receivers"]),
        ({"kube_prometheus_stack_alert_receivers": [], "kube_prometheus_stack_enabled": False}, []),
        ({"terraform_variables": {"alarm_topic_arn": "arn:aws:sns:us-east-2:123456789012:on-call"},
          "kube_prometheus_stack_alert_receivers": [{"name": "on-call"}]}, []),
    ],
)  # fmt: skip
def test_it_is_said_when_nobody_is_notified(variables: dict[str, Any], noted: list[str]) -> None:
    given = {"terraform_variables": {}} | variables | {"terraform_enabled": True, "__preflight_version_note": ""}
    notes = variable("preflight", "__preflight_notes", **given)
    assert [name for name in noted if any(name in note for note in notes)] == noted
    assert len(notes) == len(noted)


@pytest.mark.parametrize(
    ("variables", "gib"),
    [
        ({}, 0.0),
        (VOLUME, 50.0),
        ({"kube_prometheus_stack_storage_size": "1.5Ti"}, 1536.0),
        (VOLUME | {"kube_prometheus_stack_enabled": False}, 0.0),
    ],
)
def test_the_volume_that_costs_is_the_one_that_will_be_made(variables: dict[str, Any], gib: float) -> None:
    assert float(variable("preflight", "__preflight_volume_gib", **variables)) == gib


@pytest.mark.parametrize(
    ("terraform_enabled", "role", "noted"), [(False, "", True), (False, "the-role", False), (True, "", False)]
)
def test_it_is_said_when_nodes_are_not_added(terraform_enabled: bool, role: str, noted: bool) -> None:
    note = variable(
        "preflight", "__preflight_autoscaling_note", receiver_autoscaling=True, receiver_autoscaling_max_replicas=7,
        terraform_enabled=terraform_enabled, infrastructure_karpenter_role_arn=role,
    )  # fmt: skip
    assert note.startswith("receiver_autoscaling adds receivers, at most 7, but no nodes") is noted
    assert bool(note) is noted


@pytest.mark.parametrize(
    ("reachable", "delegated_to", "noted"),
    [
        (True, ["ns-1.awsdns-1.com", "ns-2.awsdns-2.net"], ""),
        (True, ["ns1.registrar.example"], "but the domain is delegated to ns1.registrar.example."),
        (True, [], "but the domain is delegated to nobody."),
        (False, [], ""),  # a network that lets nobody ask
    ],
)
def test_a_zone_that_is_not_delegated_is_said(reachable: bool, delegated_to: list[str], noted: str) -> None:
    note = variable(
        "preflight", "__preflight_zone_note", receiver_zone="example.com",
        preflight_plan={"zone_name_servers": ["ns-2.awsdns-2.net"]},
        preflight_zone={"reachable": reachable, "delegated_to": delegated_to},
    )  # fmt: skip
    assert bool(note) is bool(noted)
    assert noted in note
