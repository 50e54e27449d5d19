# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Things: what is, what should be, the difference."""

from __future__ import annotations

from typing import Any

from ansible_collections.iotweb.aws_iot.plugins.module_utils.iot import IoT
from ansible_collections.iotweb.aws_iot.plugins.module_utils.tags import as_text

Thing = dict[str, Any]


def described(answer: dict[str, Any]) -> Thing:
    """Return what DescribeThing returns, in Ansible's spelling."""
    return {
        "thing_name": answer["thingName"],
        "thing_arn": answer["thingArn"],
        "thing_id": answer.get("thingId", ""),
        "thing_type_name": answer.get("thingTypeName") or "",
        "attributes": answer.get("attributes") or {},
    }


def current_thing(iot: IoT, name: str) -> Thing | None:
    """Return a thing, None for no thing."""
    answer = iot.find("describe_thing", thingName=name)
    return described(answer) if answer else None


def principals_of(iot: IoT, name: str) -> list[str]:
    """Return the ARNs of the certificates and identities attached to a thing."""
    return sorted(iot.list("list_thing_principals", "principals", thingName=name))


def desired(current: Thing | None, params: dict[str, Any]) -> Thing:
    """Return the thing as it should be: what isn't asked for stays.

    An attribute with an empty value is one that AWS removes.
    """
    thing = dict(current or {"thing_name": params["name"], "thing_type_name": "", "attributes": {}})
    if params["thing_type_name"] is not None:
        thing["thing_type_name"] = params["thing_type_name"]
    if params["attributes"] is not None:
        kept = {} if params["purge_attributes"] else thing["attributes"]
        asked = {**kept, **as_text(params["attributes"])}
        thing["attributes"] = {key: value for key, value in asked.items() if value}
    return thing


def creation(thing: Thing) -> dict[str, Any]:
    """Return CreateThing's arguments."""
    arguments: dict[str, Any] = {"thingName": thing["thing_name"]}
    if thing["thing_type_name"]:
        arguments["thingTypeName"] = thing["thing_type_name"]
    if thing["attributes"]:
        arguments["attributePayload"] = {"attributes": thing["attributes"]}
    return arguments


def agrees(found: Thing | None, thing: Thing, purge: bool) -> bool:
    """Return whether a thing that was read is the one that was written, with more attributes where none are purged."""
    if found is None or purge:
        return found == thing
    return {**found, "attributes": {**found["attributes"], **thing["attributes"]}} == found and (
        found["thing_type_name"] == thing["thing_type_name"]
    )


def update(current: Thing, thing: Thing, purge: bool = True) -> dict[str, Any]:
    """Return UpdateThing's arguments, only the name when nothing differs.

    Without purge AWS merges what differs into the attributes, so that one which somebody else sets meanwhile stays.
    """
    arguments: dict[str, Any] = {"thingName": thing["thing_name"]}
    before, after = current["attributes"], thing["attributes"]
    if before != after and purge:
        arguments["attributePayload"] = {"attributes": after, "merge": False}
    elif before != after:
        changed = {key: after.get(key, "") for key in {**before, **after} if before.get(key) != after.get(key)}
        arguments["attributePayload"] = {"attributes": changed, "merge": True}
    if current["thing_type_name"] != thing["thing_type_name"]:
        removal = {"removeThingType": True}
        arguments |= {"thingTypeName": thing["thing_type_name"]} if thing["thing_type_name"] else removal
    return arguments
