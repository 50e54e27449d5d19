#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: iot_certificate_info
version_added: 1.0.0
short_description: Look up device certificates of AWS IoT Core
description:
  - Returns one certificate, those of a thing, or all.
  - It takes three calls for each certificate, so narrow the question down in a large fleet.
seealso:
  - module: iotweb.aws_iot.iot_certificate
author:
  - IoT receiver contributors (@iotweb)
options:
  certificate_id:
    description: Id of the only certificate that is looked up.
    type: str
  thing_name:
    description: Name of the thing that the certificates are attached to.
    type: str
  status:
    description: Status of the certificates that are looked up.
    type: str
    choices: [ACTIVE, INACTIVE, REVOKED, PENDING_TRANSFER, PENDING_ACTIVATION]
notes:
  - The caller needs the permissions C(iot:DescribeCertificate), C(iot:ListAttachedPolicies),
    C(iot:ListCertificates), C(iot:ListPrincipalThings), C(iot:ListThingPrincipals).
extends_documentation_fragment:
  - iotweb.aws_iot.attributes.info
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Look up a sensor's certificates
  iotweb.aws_iot.iot_certificate_info:
    thing_name: sensor-1
  register: found

- name: It has one that works
  ansible.builtin.assert:
    that: found.certificates | selectattr('status', 'eq', 'ACTIVE') | length == 1
"""

RETURN = r"""
certificates:
  description: The certificates, in the order of their ids; empty for none.
  returned: always
  type: list
  elements: dict
  contains:
    certificate_id:
      description: Its id.
      type: str
    certificate_arn:
      description: Its ARN.
      type: str
    certificate_pem:
      description: The certificate itself.
      type: str
    status:
      description: Its status.
      type: str
      sample: ACTIVE
    things:
      description: Names of the things it is attached to.
      type: list
      elements: str
    policies:
      description: Names of the policies attached to it.
      type: list
      elements: str
    ca_certificate_id:
      description: Id of the account's own authority that signed it; empty for AWS's.
      type: str
    creation_date:
      description: When AWS IoT got to know it.
      type: str
      sample: '2026-01-31T12:00:00+00:00'
    not_before:
      description: When it begins to be valid.
      type: str
    not_after:
      description: When it ceases to be valid.
      type: str
      sample: '2049-12-31T23:59:59+00:00'
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.iotweb.aws_iot.plugins.module_utils.certificate import describe, described, ids_of_thing
from ansible_collections.iotweb.aws_iot.plugins.module_utils.iot import IoT, instant


def ids(iot: IoT, params: dict[str, Any]) -> list[str]:
    """Return the ids of the certificates that are asked for."""
    if params["certificate_id"]:
        return [params["certificate_id"]]
    if params["thing_name"]:
        return sorted(ids_of_thing(iot, params["thing_name"]))
    return sorted(one["certificateId"] for one in iot.list("list_certificates", "certificates"))


def looked_up(iot: IoT, certificate_id: str, status: str | None) -> dict[str, Any] | None:
    description = describe(iot, certificate_id)
    if description is None or status not in (None, description["status"]):
        return None
    validity = description.get("validity") or {}
    return {
        **described(iot, description),
        "ca_certificate_id": description.get("caCertificateId") or "",
        "creation_date": instant(description.get("creationDate")),
        "not_before": instant(validity.get("notBefore")),
        "not_after": instant(validity.get("notAfter")),
    }


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "certificate_id": {},
            "thing_name": {},
            "status": {"choices": ["ACTIVE", "INACTIVE", "REVOKED", "PENDING_TRANSFER", "PENDING_ACTIVATION"]},
        },
        mutually_exclusive=[("certificate_id", "thing_name")],
        supports_check_mode=True,
    )
    iot = IoT(module)
    found = [looked_up(iot, one, module.params["status"]) for one in ids(iot, module.params)]
    module.exit_json(changed=False, certificates=[one for one in found if one])


if __name__ == "__main__":
    main()
