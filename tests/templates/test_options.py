"""Setting a role's variable has an effect: something that the role gives to a module or a template changes with it."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

from tests.templates.render import ROLES

init_plugin_loader()  # lookups by their full names

SHARED = "deployment_defaults"
# Facts of a deployment and results of tasks, without which expressions have no value.
PLACE: dict[str, Any] = {
    **{f"infrastructure_{name}": f"the-{name}" for name in (
        "account_id", "certificate_arn", "cluster_name", "cluster_security_group_id", "karpenter_role_arn",
        "kubeconfig", "load_balancer_controller_role_arn", "node_instance_profile", "partition",
        "receiver_dead_letter_queue_url", "receiver_role_arn", "redrive_role_arn", "region",
        "rule_dead_letter_queue_url", "rule_role_arn", "secret_arn", "secret_name", "table_name", "table_schema",
        "vpc_id", "zone_id")},
    "infrastructure_private_subnet_ids": ["subnet-1"], "karpenter_deployments": {"resources": []},
    "aws_account_id": "123456789012", "aws_region": "us-east-2", "aws_environment": {},
    "receiver_domain": "d.example.com",
    "receiver_image_reference": "registry/image:tag", "inventory_hostname": "edge-1", "ansible_check_mode": False,
    "ansible_playbook_python": "python3", "playbook_dir": "/playbooks", "groups": {"edge": ["edge-1"], "all": []},
    "hostvars": {}, "helm_release_name": "release", "helm_release_namespace": "space", "helm_release_chart": "chart",
}  # fmt: skip
# Results of earlier tasks, as texts need them.
PLACE |= {
    "ansible_managed": "managed", "__device_endpoint": "endpoint", "device_broker": {"endpoint_address": "endpoint"},
    "device_python_found": {"stdout": "3.11 x86_64", "rc": 0},
    "device_wheel": {"path": "/wheel", "checksum": "abc", "digest": "abc"},
    "device_kit_thing": "kit-1", "device_kit_held": {"content": "old"}, "device_kit_existing": {"certificates": []},
    "device_kit_broker": {"endpoint_address": "endpoint"}, "device_kit_key": {"privatekey": "new"},
    "dead_letters_counted": {"total": 0}, "__dead_letters_left": 3, "shared_secret_promoted": {"changed": False},
    "shared_secret_age": {"unchanged_for": 0},
    "dead_letters_receiver": {"resources": [{"spec": {"template": {"spec": {"containers": [
        {"image": "image", "env": [{"name": "AWS_REGION", "value": "r"}], "resources": {}}]}}}}]},
    "receiver_image_work": {"path": "/work"}, "receiver_image_pip": {"ca": ""},
    "receiver_image_chosen": {"program": "buildah", "options": [], "kind": "buildah"},
    "verify_canary": {"stderr": "{}"}, "preflight_identity": {"reachable": False, "faults": ["no answer"]},
    "helm_release_kubeconfig": "/kubeconfig",
}  # fmt: skip
# What else must be set for a variable to matter.
WITH: dict[str, dict[str, Any]] = {
    "device_sensor_path": {"device_sensor": "cpu"},
    "device_sensor_command": {"device_sensor": "command"},
    "helm_release_chart_version": {"helm_release_chart_repository": "https://charts.example.com"},
    "kube_prometheus_stack_storage_class": {"kube_prometheus_stack_storage_size": "10Gi"},
    "receiver_image_builder_options": {"receiver_image_builder": "buildah"},
    "readings_login_networks": {"readings_login": {"domain": "readings.example.com"}},
}
# Keywords of tasks whose value is an expression.
EXPRESSIONS = ("when", "that", "until", "changed_when", "failed_when")


def described(role: str) -> dict[str, dict[str, Any]]:
    """A role's own options, of all entry points."""
    spec = yaml.safe_load((ROLES / role / "meta/argument_specs.yml").read_text())["argument_specs"]
    return {name: option for point in spec.values() for name, option in (point.get("options") or {}).items()}


ROLE_NAMES = sorted(path.parents[1].name for path in ROLES.glob("*/meta/argument_specs.yml"))
OPTIONS = [(role, name) for role in ROLE_NAMES for name in described(role)]


@cache
def known(role: str) -> dict[str, Any]:
    """Defaults and vars that a role sees."""
    loader = DataLoader()
    found: dict[str, Any] = {}
    for name in (SHARED, role):
        for part in ("defaults", "vars"):
            for file in sorted([*(ROLES / name).glob(f"{part}/main.yml"), *(ROLES / name).glob(f"{part}/main/*.yml")]):
                found |= loader.load_from_file(str(file), trusted_as_template=True) or {}
    return {"role_path": str(ROLES / role)} | found


def expressions(value: Any, keyword: str = "") -> Iterator[str]:
    """Every text in a task that Ansible makes a value of."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield from (key, *expressions(member, key)) if "{{" in str(key) else expressions(member, key)
    elif isinstance(value, list):
        for element in value:
            yield from expressions(element, keyword)
    elif isinstance(value, str):
        yield f"{{{{ {value} }}}}" if keyword in EXPRESSIONS and "{{" not in value else value


@cache
def texts(role: str) -> list[str]:
    """What a role gives to modules, and its templates."""
    found: list[str] = []
    for file in sorted((ROLES / role).glob("tasks/*.yml")):
        found += expressions(yaml.safe_load(file.read_text()) or [])
    for file in sorted((ROLES.parent / "playbooks").glob("*.yml")):
        found += [text for text in expressions(yaml.safe_load(file.read_text())) if f"{role}_" in text]
    templates = (ROLES / role).glob("templates/**/*.j2")
    return found + [file.read_text() for file in sorted(templates)]


def readers(role: str, name: str) -> set[str]:
    """A variable, and the role's variables that are made of it."""
    found, before = {name}, set[str]()
    while found != before:
        before = set(found)
        pattern = re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, sorted(before)))})\b")
        found |= {other for other, value in known(role).items() if pattern.search(str(value))}
    return found


def other(option: dict[str, Any], default: Any) -> Any:
    """A value of the option's type that is not its default."""
    kind = option.get("type", "str")
    if "choices" in option:
        return next(choice for choice in option["choices"] if choice != default)
    if kind == "bool":
        return str(default).lower() not in {"true", "1"}
    if kind in {"int", "float"}:
        return (default if isinstance(default, (int, float)) else 0) + 1_000
    if kind == "list":
        return ["changed-1", "changed-2", "changed-3"]
    if kind == "dict":
        return {"changed": {"attribute": "changed"}, "queue": "rule", "reason": "changed", "type": "changed"}
    return "changed-value"


def made(role: str, text: str, given: dict[str, Any]) -> str | None:
    """What a text becomes; None where it needs what only a run knows."""
    try:
        variables = PLACE | known(role) | given
        return str(Templar(loader=DataLoader(), variables=variables).template(trust_as_template(text)))
    except (AnsibleError, TypeError, ValueError):
        return None


def has_effect(role: str, name: str, option: dict[str, Any]) -> bool:
    """Whether something in a role changes with a variable."""
    value = other(option, known(role).get(name, option.get("default")))
    pattern = re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, readers(role, name)))})\b")
    for text in texts(role):
        if pattern.search(text):
            given = WITH.get(name, {})
            before, after = made(role, text, given), made(role, text, given | {name: value})
            if before != after:
                return True
    return False


@pytest.mark.parametrize(("role", "name"), OPTIONS, ids=str)
def test_setting_a_variable_has_an_effect(role: str, name: str) -> None:
    option = described(role)[name]
    roles = [role]
    if role == SHARED:
        roles = [each for each in ROLE_NAMES if SHARED in (ROLES / each / "meta/main.yml").read_text()]
    assert any(has_effect(each, name, option) for each in roles), f"nothing in {', '.join(roles)} changes with {name}"
