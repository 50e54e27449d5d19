# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tags of the IoT resources that can have them."""

from __future__ import annotations

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.tagging import (
    ansible_dict_to_boto3_tag_list,
    boto3_tag_list_to_ansible_dict,
    compare_aws_tags,
)
from ansible_collections.iotweb.aws_iot.plugins.module_utils.iot import IoT

# Options of the fragment amazon.aws.tags.
TAG_OPTIONS: dict[str, Any] = {
    "tags": {"type": "dict", "aliases": ["resource_tags"]},
    "purge_tags": {"type": "bool", "default": True},
}
Tags = dict[str, str]


def current_tags(iot: IoT, arn: str) -> Tags:
    """Return a resource's tags."""
    found: Tags = boto3_tag_list_to_ansible_dict(iot.list("list_tags_for_resource", "tags", resourceArn=arn))
    return found


def desired_tags(before: Tags, params: dict[str, Any]) -> Tags:
    """Return the tags as they should be: what isn't asked for stays, as do AWS's own."""
    if params["tags"] is None:
        return before
    added, removed = compare_aws_tags(before, as_text(params["tags"]), params["purge_tags"])
    return {**{key: value for key, value in before.items() if key not in removed}, **added}


def as_text(values: dict[str, Any]) -> Tags:
    """Return tags, or the like, whose values are all text: a boolean as YAML spells it, nothing as empty."""
    return {str(key): _text(value) for key, value in values.items()}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_texts(module: AnsibleAWSModule, *options: str) -> None:
    """End the module where a value of these options can't be text."""
    for option in options:
        for key, value in (module.params[option] or {}).items():
            if isinstance(value, (dict, list)):
                module.fail_json(
                    msg=f"{option}.{key} is a list or a mapping: give text, a number or a truth value, or make text of"
                    " it by the filter to_json."
                )


def write_tags(iot: IoT, arn: str, before: Tags, after: Tags) -> None:
    """Bring a resource's tags from what they were to what they should be."""
    if added := {key: value for key, value in after.items() if before.get(key) != value}:
        iot.write("tag_resource", resourceArn=arn, tags=ansible_dict_to_boto3_tag_list(added))
    if removed := sorted(set(before) - set(after)):
        iot.write("untag_resource", resourceArn=arn, tagKeys=removed)
