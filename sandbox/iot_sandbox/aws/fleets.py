"""EC2 Fleet of type instant, by which a node autoscaler launches one of several types and subnets.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateFleet.html
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/troubleshooting-launch.html (how AWS words missing capacity)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2 import urls
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses import EC2Response
from moto.ec2.utils import convert_tag_spec, random_fleet_id, random_instance_id

from iot_sandbox.aws import nodes, spare_nodes

Choice = tuple[Mapping[str, str], dict[str, Any], Mapping[str, Any]]  # launch template, its data, override
NO_CAPACITY = (
    "We currently do not have sufficient {type} capacity in the Availability Zone you requested ({zone}). Our system "
    "will be working on provisioning additional capacity."
)


class InsufficientInstanceCapacityError(EC2ClientError):
    """No spare node is left in a zone."""

    def __init__(self, instance_type: str, zone: str) -> None:
        super().__init__("InsufficientInstanceCapacity", NO_CAPACITY.format(type=instance_type, zone=zone))


def launch(ec2: Any, template: Mapping[str, Any], choice: Mapping[str, Any], tags: dict[str, str]) -> Any:
    """Launch a node's instance by a template's data and one of a fleet's overrides.

    Raises EC2ClientError where the zone has no spare node or the account's quota is used up.
    """
    instance_type = choice.get("InstanceType") or template["InstanceType"]
    subnet = ec2.get_subnet(choice["SubnetId"])
    config = spare_nodes.node_config(template["UserData"]) or {}
    ec2.check_vcpus(instance_type, 1)
    identity = random_instance_id()
    node = spare_nodes.current().take(subnet.availability_zone, identity)
    if node is None:
        raise InsufficientInstanceCapacityError(instance_type, subnet.availability_zone)
    try:
        instance = nodes.run_instance(
            ec2,
            config.get("spec", {}).get("cluster", {}).get("name", ""),
            node,
            subnets=[subnet],
            security_group_ids=[group for each in template["NetworkInterfaces"] for group in each.get("Groups", [])],
            instance_type=instance_type,
            tags=tags,
            image_id=choice.get("ImageId") or template["ImageId"],
            identity=identity,
        )
        spare_nodes.current().boot(node, instance, config)
    except Exception:
        if identity in {each.id for each in ec2.all_running_instances()}:
            ec2.terminate_instances([identity])
        else:
            spare_nodes.current().end(identity)
        raise
    return ec2.get_instance(identity)


class FleetResponse(EC2Response):
    """CreateFleet that starts nodes; other fleets are moto's."""

    def create_fleet(self) -> ActionResult:
        """CreateFleet."""
        choices = self._choices()
        starts_nodes = any(spare_nodes.node_config(template.get("UserData") or "") for _, template, _ in choices)
        if self._get_param("Type") != "instant" or not starts_nodes:
            return super().create_fleet()
        self.error_on_dryrun()
        answer: dict[str, Any] = {"FleetId": random_fleet_id(), "Instances": [], "Errors": []}
        wanted = int(self._get_param("TargetCapacitySpecification", {}).get("TotalTargetCapacity", 1))
        while wanted and self._launch_one(choices, answer):
            wanted -= 1
        return ActionResult(answer)

    def _launch_one(self, choices: Sequence[Choice], answer: dict[str, Any]) -> bool:
        """Launch the first choice that there is room for, and add to the answer what came of it."""
        tags = convert_tag_spec(self._get_param("TagSpecifications", [])).get("instance", {})
        for named, template, choice in choices:
            described = {"LaunchTemplateSpecification": named, "Overrides": dict(choice)}
            common = {"LaunchTemplateAndOverrides": described, "Lifecycle": "on-demand"}
            try:
                instance = launch(self.ec2_backend, template, choice, {**_instance_tags(template), **tags})
            except EC2ClientError as error:
                answer["Errors"].append({"ErrorCode": error.code, "ErrorMessage": error.message, **common})
            else:
                started = {"InstanceIds": [instance.id], "InstanceType": instance.instance_type}
                answer["Instances"].append({**started, **common})
                return True
        return False

    def _choices(self) -> list[Choice]:
        """What a node may be, by the caller's priority."""
        found: list[Choice] = []
        for config in self._get_param("LaunchTemplateConfigs", []):
            named = config["LaunchTemplateSpecification"]
            template = self._template(named)
            found += [(named, template, choice) for choice in config.get("Overrides", [])]
        return sorted(found, key=lambda each: float(each[2].get("Priority") or 0))

    def _template(self, named: Mapping[str, str]) -> dict[str, Any]:
        if "LaunchTemplateId" in named:
            template = self.ec2_backend.get_launch_template(named["LaunchTemplateId"])
        else:
            template = self.ec2_backend.get_launch_template_by_name(named["LaunchTemplateName"])
        version = named.get("Version", "$Default")
        numbers = {"$Latest": template.latest_version_number, "$Default": template.default_version_number}
        return dict(template.get_version(numbers.get(version, version)).data)


def _instance_tags(template: Mapping[str, Any]) -> dict[str, str]:
    return dict(convert_tag_spec(template.get("TagSpecifications") or []).get("instance", {}))


def install() -> None:
    """Replace moto's calls."""
    urls.url_paths["{0}/"] = FleetResponse.dispatch
