#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
---
module: iot_thing
version_added: 1.0.0
short_description: Manage a thing of AWS IoT Core
description:
  - Creates, changes and deletes a thing, AWS IoT Core's record of a device.
  - Certificates are attached to a thing by M(iotweb.aws_iot.iot_certificate).
author:
  - IoT receiver contributors (@iotweb)
options:
  name:
    description: Name of the thing, which cannot be changed later.
    type: str
    required: true
    aliases: [thing_name]
  thing_type_name:
    description:
      - Name of an existing thing type.
      - An empty string removes the thing's type; without the option it is left as it is.
    type: str
  attributes:
    description:
      - Attributes the thing has. Without the option they are left as they are.
    type: dict
  purge_attributes:
    description: Whether attributes that are not listed in O(attributes) are removed.
    type: bool
    default: true
  detach_principals:
    description:
      - With O(state=absent), whether certificates that are still attached are detached first.
      - AWS refuses to delete a thing that has any.
    type: bool
    default: false
  state:
    description: Whether the thing exists.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: Predicts what would change, and writes nothing.
    support: full
  diff_mode:
    description: Shows the thing before and after.
    support: full
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Sensor is known to IoT Core
  iotweb.aws_iot.iot_thing:
    name: sensor-1
    attributes:
      room: cellar

- name: Sensor has a type
  iotweb.aws_iot.iot_thing:
    name: sensor-1
    thing_type_name: thermometer

- name: Sensor is gone, its certificates are detached
  iotweb.aws_iot.iot_thing:
    name: sensor-1
    state: absent
    detach_principals: true
"""

RETURN = r"""
thing:
  description: The thing, as it is now or would be; empty when it is absent.
  returned: always
  type: dict
  contains:
    thing_name:
      description: Its name.
      type: str
      sample: sensor-1
    thing_arn:
      description: Its ARN; missing when check mode would create it.
      type: str
      sample: arn:aws:iot:us-east-2:123456789012:thing/sensor-1
    thing_id:
      description: The identifier AWS gave it; missing when check mode would create it.
      type: str
    thing_type_name:
      description: Its type; empty for none.
      type: str
    attributes:
      description: Its attributes.
      type: dict
      sample: {room: cellar}
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.iotweb.aws_iot.plugins.module_utils.iot import IoT, Plan, differs


def described(answer: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return what DescribeThing tells, in Ansible's spelling; None for no thing."""
    if answer is None:
        return None
    return {
        "thing_name": answer["thingName"],
        "thing_arn": answer["thingArn"],
        "thing_id": answer.get("thingId", ""),
        "thing_type_name": answer.get("thingTypeName") or "",
        "attributes": answer.get("attributes") or {},
    }


def desired(current: dict[str, Any] | None, params: dict[str, Any]) -> dict[str, Any]:
    """Return the thing as it should be: what isn't asked for stays."""
    thing = dict(current or {"thing_name": params["name"], "thing_type_name": "", "attributes": {}})
    if params["thing_type_name"] is not None:
        thing["thing_type_name"] = params["thing_type_name"]
    if params["attributes"] is not None:
        asked = {key: str(value) for key, value in params["attributes"].items()}
        thing["attributes"] = asked if params["purge_attributes"] else {**thing["attributes"], **asked}
    return thing


def creation(thing: dict[str, Any]) -> dict[str, Any]:
    """Return CreateThing's arguments."""
    arguments: dict[str, Any] = {"thingName": thing["thing_name"]}
    if thing["thing_type_name"]:
        arguments["thingTypeName"] = thing["thing_type_name"]
    if thing["attributes"]:
        arguments["attributePayload"] = {"attributes": thing["attributes"]}
    return arguments


def update(current: dict[str, Any], thing: dict[str, Any]) -> dict[str, Any]:
    """Return UpdateThing's arguments, only the name when nothing differs."""
    arguments: dict[str, Any] = {"thingName": thing["thing_name"]}
    if current["attributes"] != thing["attributes"]:
        arguments["attributePayload"] = {"attributes": thing["attributes"], "merge": False}
    if current["thing_type_name"] != thing["thing_type_name"]:
        arguments.update(
            {"thingTypeName": thing["thing_type_name"]}
            if thing["thing_type_name"]
            else {"removeThingType": True}
        )
    return arguments


def ensure_present(iot: IoT, plan: Plan, current: dict[str, Any] | None) -> dict[str, Any]:
    thing = desired(current, plan.module.params)
    if current is None:
        plan.write(iot.call, "create_thing", **creation(thing))
    elif len(arguments := update(current, thing)) > 1:
        plan.write(iot.call, "update_thing", **arguments)
    if plan.changed and not plan.module.check_mode:
        return described(iot.find("describe_thing", thingName=thing["thing_name"])) or thing
    return thing


def ensure_absent(iot: IoT, plan: Plan, current: dict[str, Any]) -> None:
    name = current["thing_name"]
    principals = iot.list("list_thing_principals", "principals", thingName=name)
    if principals and not plan.module.params["detach_principals"]:
        plan.module.fail_json(
            msg=f"Thing {name} still has certificates attached: {', '.join(principals)}. Remove them with"
            " iot_certificate, or set detach_principals: true."
        )
    for principal in principals:
        plan.write(iot.call, "detach_thing_principal", thingName=name, principal=principal)
    plan.write(iot.call, "delete_thing", thingName=name)


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"required": True, "aliases": ["thing_name"]},
            "thing_type_name": {},
            "attributes": {"type": "dict"},
            "purge_attributes": {"type": "bool", "default": True},
            "detach_principals": {"type": "bool", "default": False},
            "state": {"choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    iot, plan = IoT(module), Plan(module)
    before = described(iot.find("describe_thing", thingName=module.params["name"]))
    after: dict[str, Any] | None = None
    if module.params["state"] == "present":
        after = ensure_present(iot, plan, before)
    elif before is not None:
        ensure_absent(iot, plan, before)
    module.exit_json(changed=plan.changed, thing=after or {}, diff=differs(before, after))


if __name__ == "__main__":
    main()
