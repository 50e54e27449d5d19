#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: iot_thing
version_added: 1.0.0
short_description: Manage a thing of AWS IoT Core
description:
  - Creates, changes and deletes a thing, AWS IoT Core's record of a device.
  - Certificates are attached to a thing by M(iotweb.aws_iot.iot_certificate).
seealso:
  - module: iotweb.aws_iot.iot_thing_info
  - module: iotweb.aws_iot.iot_certificate
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
      - Name of an existing thing type that is not deprecated.
      - An empty string removes the thing's type; without the option it is left as it is.
    type: str
  attributes:
    description:
      - Attributes the thing has. Without the option they are left as they are.
      - AWS keeps no attribute without a value, so one that is empty or null is removed.
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
notes:
  - The caller needs the permissions C(iot:CreateThing), C(iot:DeleteThing), C(iot:DescribeThing),
    C(iot:DescribeThingType), C(iot:DetachThingPrincipal), C(iot:ListThingPrincipals), C(iot:UpdateThing).
extends_documentation_fragment:
  - iotweb.aws_iot.attributes
  - iotweb.aws_iot.owner
  - iotweb.aws_iot.wait
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Register the sensor
  iotweb.aws_iot.iot_thing:
    name: sensor-1
    attributes:
      room: cellar

- name: Give a sensor a type
  iotweb.aws_iot.iot_thing:
    name: sensor-1
    thing_type_name: thermometer

- name: Delete a sensor and detach its certificates
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

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.iotweb.aws_iot.plugins.module_utils.iot import EXISTS, INVALID, WAIT_OPTIONS, IoT
from ansible_collections.iotweb.aws_iot.plugins.module_utils.owner import OWNER_OPTIONS, may_touch, with_owner
from ansible_collections.iotweb.aws_iot.plugins.module_utils.tags import check_texts
from ansible_collections.iotweb.aws_iot.plugins.module_utils.thing import (
    agrees,
    creation,
    current_thing,
    desired,
    principals_of,
    update,
)


def create(iot: IoT, thing: dict[str, Any], purge: bool) -> dict[str, Any]:
    """Create a thing and return it. One that another run made meanwhile is brought to what is wanted."""
    try:
        answer = iot.write("create_thing", (EXISTS,), **creation(thing))
    except is_boto3_error_code(EXISTS) as error:
        found = iot.visible(lambda: current_thing(iot, thing["thing_name"]))
        if found is None:
            iot.fail(error, "create_thing", {"thingName": thing["thing_name"]})
        may_touch(iot.module, f"Thing {thing['thing_name']}", found["attributes"])
        wanted = {**found, **thing}
        if not purge:
            wanted["attributes"] = {**found["attributes"], **thing["attributes"]}
        change(iot, found, wanted, purge)
        return wanted
    named = {"thing_arn": answer["thingArn"], "thing_id": answer.get("thingId", "")} if answer else {}
    return {**thing, **named}


def change(iot: IoT, current: dict[str, Any], thing: dict[str, Any], purge: bool) -> None:
    if len(arguments := update(current, thing, purge)) > 1:
        iot.write("update_thing", **arguments)


def check_type(iot: IoT, name: str) -> None:
    """End the module where the type can't be had. A check before the type is made says nothing."""
    found = iot.find("describe_thing_type", thingTypeName=name)
    if found is None and not iot.module.check_mode:
        iot.module.fail_json(msg=f"There is no thing type {name}: create it first (aws iot create-thing-type).")
    if found and (found.get("thingTypeMetadata") or {}).get("deprecated"):
        iot.module.fail_json(msg=f"Thing type {name} is deprecated: take another, or undo that.")


def ensure_present(iot: IoT, before: dict[str, Any] | None) -> dict[str, Any]:
    params = with_owner(iot.module.params, "attributes")
    thing, purge = desired(before, params), params["purge_attributes"] and params["attributes"] is not None
    if thing["thing_type_name"] and thing["thing_type_name"] != (before or {}).get("thing_type_name"):
        check_type(iot, thing["thing_type_name"])
    if before is None:
        thing = create(iot, thing, purge)
    else:
        change(iot, before, thing, purge)
    name = thing["thing_name"]
    settled: dict[str, Any] = iot.settled(
        lambda: current_thing(iot, name), lambda found: agrees(found, thing, purge), f"thing {name}", thing
    )
    return settled


def ensure_absent(iot: IoT, name: str) -> None:
    principals = principals_of(iot, name)
    if principals and not iot.module.params["detach_principals"]:
        iot.module.fail_json(
            msg=f"Thing {name} still has certificates attached: {', '.join(principals)}. Remove them with"
            " iot_certificate, or set detach_principals: true."
        )
    for principal in principals:
        iot.remove("detach_thing_principal", thingName=name, principal=principal)
    iot.remove("delete_thing", {INVALID: "attached"}, thingName=name)
    iot.settled(lambda: current_thing(iot, name), lambda found: found is None, f"thing {name}", None)


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"required": True, "aliases": ["thing_name"]},
            "thing_type_name": {},
            "attributes": {"type": "dict"},
            "purge_attributes": {"type": "bool", "default": True},
            "detach_principals": {"type": "bool", "default": False},
            "state": {"choices": ["present", "absent"], "default": "present"},
            **OWNER_OPTIONS,
            **WAIT_OPTIONS,
        },
        supports_check_mode=True,
    )
    check_texts(module, "attributes")
    iot = IoT(module)
    before = current_thing(iot, module.params["name"])
    after: dict[str, Any] | None = None
    if not may_touch(module, f"Thing {module.params['name']}", before and before["attributes"]):
        after = before
    elif module.params["state"] == "present":
        after = ensure_present(iot, before)
    elif before is not None:
        ensure_absent(iot, module.params["name"])
    iot.exit("thing", before, after)


if __name__ == "__main__":
    main()
