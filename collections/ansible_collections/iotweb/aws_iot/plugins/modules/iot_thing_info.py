#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: iot_thing_info
version_added: 1.0.0
short_description: Look up things of AWS IoT Core
description:
  - Returns one thing, or all, or those of a type or with an attribute.
  - It takes two calls for each thing, so narrow the question down in a large fleet.
seealso:
  - module: iotweb.aws_iot.iot_thing
author:
  - IoT receiver contributors (@iotweb)
options:
  name:
    description: Name of the only thing that is looked up.
    type: str
    aliases: [thing_name]
  thing_type_name:
    description: Type of the things that are looked up.
    type: str
  attribute_name:
    description: Name of an attribute that the things have.
    type: str
  attribute_value:
    description: Value of that attribute.
    type: str
notes:
  - The caller needs the permissions C(iot:DescribeThing), C(iot:ListThingPrincipals), C(iot:ListThings).
extends_documentation_fragment:
  - iotweb.aws_iot.attributes.info
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Look up a sensor
  iotweb.aws_iot.iot_thing_info:
    name: sensor-1
  register: found

- name: It exists
  ansible.builtin.assert:
    that: found.things | length == 1

- name: Look up the things in the cellar
  iotweb.aws_iot.iot_thing_info:
    attribute_name: room
    attribute_value: cellar
"""

RETURN = r"""
things:
  description: The things, in the order of their names; empty for none.
  returned: always
  type: list
  elements: dict
  contains:
    thing_name:
      description: Its name.
      type: str
      sample: sensor-1
    thing_arn:
      description: Its ARN.
      type: str
      sample: arn:aws:iot:us-east-2:123456789012:thing/sensor-1
    thing_id:
      description: The identifier AWS gave it.
      type: str
    thing_type_name:
      description: Its type; empty for none.
      type: str
    attributes:
      description: Its attributes.
      type: dict
      sample: {room: cellar}
    billing_group_name:
      description: Its billing group; empty for none.
      type: str
    version:
      description: How often it was changed, counted by AWS.
      type: int
    principals:
      description: ARNs of the certificates and identities attached to it.
      type: list
      elements: str
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.iotweb.aws_iot.plugins.module_utils.iot import IoT
from ansible_collections.iotweb.aws_iot.plugins.module_utils.thing import described, principals_of


def names(iot: IoT, params: dict[str, Any]) -> list[str]:
    """Return the names of the things that are asked for."""
    if params["name"]:
        return [params["name"]]
    filters = {
        "thingTypeName": params["thing_type_name"],
        "attributeName": params["attribute_name"],
        "attributeValue": params["attribute_value"],
    }
    asked = {argument: value for argument, value in filters.items() if value}
    return sorted(thing["thingName"] for thing in iot.list("list_things", "things", **asked))


def looked_up(iot: IoT, name: str) -> dict[str, Any] | None:
    answer = iot.find("describe_thing", thingName=name)
    if answer is None:
        return None
    return {
        **described(answer),
        "billing_group_name": answer.get("billingGroupName") or "",
        "version": answer.get("version"),
        "principals": principals_of(iot, name),
    }


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"aliases": ["thing_name"]},
            "thing_type_name": {},
            "attribute_name": {},
            "attribute_value": {},
        },
        mutually_exclusive=[("name", "thing_type_name"), ("name", "attribute_name")],
        required_together=[("attribute_name", "attribute_value")],
        supports_check_mode=True,
    )
    iot = IoT(module)
    things = [looked_up(iot, name) for name in names(iot, module.params)]
    module.exit_json(changed=False, things=[thing for thing in things if thing])


if __name__ == "__main__":
    main()
