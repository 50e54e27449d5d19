#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
---
module: iot_certificate
version_added: 1.0.0
short_description: Manage a device certificate of AWS IoT Core
description:
  - Issues a certificate for a certificate signing request, or lets AWS make the keys too.
  - Attaches it to its thing and to policies, and then activates it, so that an interrupted run leaves no
    active certificate that nobody knows of.
  - A certificate has no name of its own. It is found by its id, or among those of its thing, where a CSR
    picks the one that was issued for the same key.
author:
  - IoT receiver contributors (@iotweb)
options:
  thing_name:
    description:
      - Name of the existing thing the certificate belongs to and is attached to.
      - One of O(thing_name) and O(certificate_id) is required.
    type: str
  certificate_id:
    description: Id of an existing certificate.
    type: str
  csr:
    description:
      - The certificate signing request in PEM form. The private key stays where it was made.
      - Without it, AWS makes the keys and RV(key_pair) returns them once, with the new certificate only.
      - Needs O(thing_name), and the Python package cryptography.
    type: str
  policies:
    description: Names of the policies attached to the certificate. Without the option they are left as they are.
    type: list
    elements: str
  purge_policies:
    description: Whether policies that are not listed in O(policies) are detached.
    type: bool
    default: true
  state:
    description:
      - What the certificate is good for.
      - V(active) and V(inactive) issue one where there is none; a revoked one does not come back to life.
      - V(revoked) and V(absent) do nothing where there is none. V(absent) detaches it first.
    type: str
    choices: [active, inactive, revoked, absent]
    default: active
notes:
  - Set C(no_log) on tasks that let AWS make the keys.
attributes:
  check_mode:
    description: Predicts what would change, and writes nothing.
    support: full
  diff_mode:
    description: Shows status and attachments before and after.
    support: full
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Sensor has a certificate for the key it made itself
  iotweb.aws_iot.iot_certificate:
    thing_name: sensor-1
    csr: "{{ lookup('ansible.builtin.file', 'sensor-1.csr') }}"
    policies: [things]

- name: Sensor has a certificate and a key from AWS
  iotweb.aws_iot.iot_certificate:
    thing_name: sensor-2
    policies: [things]
  no_log: true
  register: issued

- name: Stolen sensor is locked out
  iotweb.aws_iot.iot_certificate:
    thing_name: sensor-1
    state: revoked

- name: Certificate is gone
  iotweb.aws_iot.iot_certificate:
    certificate_id: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
    state: absent
"""

RETURN = r"""
certificate:
  description: The certificate, as it is now or would be; empty when there is none.
  returned: always
  type: dict
  contains:
    certificate_id:
      description: Its id; missing when check mode would issue it.
      type: str
    certificate_arn:
      description: Its ARN; missing when check mode would issue it.
      type: str
    certificate_pem:
      description: The certificate itself; missing when check mode would issue it.
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
key_pair:
  description: The keys that AWS made.
  returned: when the certificate was issued now, without O(csr)
  type: dict
  contains:
    private_key:
      description: The private key in PEM form. AWS keeps no copy.
      type: str
    public_key:
      description: The public key in PEM form.
      type: str
"""

from typing import Any

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    HAS_CRYPTOGRAPHY = True
except ImportError:
    HAS_CRYPTOGRAPHY = False

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.iotweb.aws_iot.plugins.module_utils.iot import IoT, Plan, differs


class NotOneError(Exception):
    """Several certificates answer to the description."""


def csr_key(pem: str) -> bytes:
    """Return the public key of a CSR. Raises ValueError when it isn't one."""
    return (
        x509.load_pem_x509_csr(pem.encode())
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )


def certificate_key(pem: str) -> bytes:
    """Return the public key of a certificate."""
    key = x509.load_pem_x509_certificate(pem.encode()).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def chosen(candidates: list[dict[str, Any]], key: bytes | None, state: str) -> dict[str, Any] | None:
    """Return the certificate that is meant, None for none. Raises NotOneError with the ids.

    With a key: the one issued for it, an active one first. Without: the only one that still counts;
    revoked ones count where revoking or deleting is asked for.
    """
    if key is not None:
        matching = [one for one in candidates if certificate_key(one["certificatePem"]) == key]
        return min(matching, key=lambda one: one["status"] != "ACTIVE", default=None)
    living = [one for one in candidates if one["status"] != "REVOKED"]
    matching = living or (candidates if state in ("revoked", "absent") else [])
    if len(matching) > 1 and not (state == "revoked" and not living):
        raise NotOneError(", ".join(sorted(one["certificateId"] for one in matching)))
    return matching[0] if matching else None


def desired(current: dict[str, Any] | None, params: dict[str, Any]) -> dict[str, Any]:
    """Return the certificate as it should be: what isn't asked for stays."""
    wanted = dict(current or {"things": [], "policies": []})
    wanted["status"] = params["state"].upper()
    if params["thing_name"] and params["thing_name"] not in wanted["things"]:
        wanted["things"] = sorted([*wanted["things"], params["thing_name"]])
    if params["policies"] is not None:
        kept = set() if params["purge_policies"] else set(wanted["policies"])
        wanted["policies"] = sorted(kept | set(params["policies"]))
    return wanted


def described(iot: IoT, description: dict[str, Any]) -> dict[str, Any]:
    arn = description["certificateArn"]
    attached = iot.list("list_attached_policies", "policies", target=arn)
    return {
        "certificate_id": description["certificateId"],
        "certificate_arn": arn,
        "certificate_pem": description["certificatePem"],
        "status": description["status"],
        "things": sorted(iot.list("list_principal_things", "things", principal=arn)),
        "policies": sorted(policy["policyName"] for policy in attached),
    }


def describe(iot: IoT, certificate_id: str) -> dict[str, Any] | None:
    answer = iot.find("describe_certificate", certificateId=certificate_id)
    return answer["certificateDescription"] if answer else None


def current_certificate(iot: IoT, params: dict[str, Any]) -> dict[str, Any] | None:
    if params["certificate_id"]:
        description = describe(iot, params["certificate_id"])
        if description is None and params["state"] in ("active", "inactive"):
            iot.module.fail_json(
                msg=f"There is no certificate {params['certificate_id']}: give thing_name to issue one."
            )
    else:
        principals = iot.list("list_thing_principals", "principals", thingName=params["thing_name"])
        ids = [arn.rpartition(":cert/")[2] for arn in principals if ":cert/" in arn]
        candidates = [found for found in (describe(iot, one) for one in ids) if found]
        try:
            key = csr_key(params["csr"]) if params["csr"] else None
            description = chosen(candidates, key, params["state"])
        except NotOneError as ids_found:
            iot.module.fail_json(
                msg=f"Thing {params['thing_name']} has more than one certificate:"
                f" say which by certificate_id, one of {ids_found}."
            )
        except ValueError as error:
            iot.module.fail_json(msg=f"csr is not a certificate signing request in PEM form: {error}")
    return described(iot, description) if description else None


def issue(iot: IoT, csr: str | None) -> tuple[dict[str, Any], dict[str, str] | None]:
    """Return a new inactive certificate, and its keys where AWS made them."""
    if csr:
        answer = iot.call("create_certificate_from_csr", certificateSigningRequest=csr, setAsActive=False)
    else:
        answer = iot.call("create_keys_and_certificate", setAsActive=False)
    issued = {
        "certificate_id": answer["certificateId"],
        "certificate_arn": answer["certificateArn"],
        "certificate_pem": answer["certificatePem"],
        "status": "INACTIVE",
        "things": [],
        "policies": [],
    }
    pair = answer.get("keyPair")
    return issued, pair and {"private_key": pair["PrivateKey"], "public_key": pair["PublicKey"]}


def adjust(iot: IoT, plan: Plan, current: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Attach and detach what differs; the status comes last."""
    arn = current["certificate_arn"]
    for name in sorted(set(wanted["things"]) - set(current["things"])):
        plan.write(iot.call, "attach_thing_principal", thingName=name, principal=arn)
    for name in sorted(set(wanted["policies"]) - set(current["policies"])):
        plan.write(iot.call, "attach_policy", policyName=name, target=arn)
    for name in sorted(set(current["policies"]) - set(wanted["policies"])):
        plan.write(iot.call, "detach_policy", policyName=name, target=arn)
    if current["status"] != wanted["status"]:
        plan.write(
            iot.call,
            "update_certificate",
            certificateId=current["certificate_id"],
            newStatus=wanted["status"],
        )


def ensure_absent(iot: IoT, plan: Plan, current: dict[str, Any]) -> None:
    certificate_id, arn = current["certificate_id"], current["certificate_arn"]
    if current["status"] == "ACTIVE":  # AWS deletes no active certificate
        plan.write(iot.call, "update_certificate", certificateId=certificate_id, newStatus="INACTIVE")
    for name in current["policies"]:
        plan.write(iot.call, "detach_policy", policyName=name, target=arn)
    for name in current["things"]:
        plan.write(iot.call, "detach_thing_principal", thingName=name, principal=arn)
    plan.write(iot.call, "delete_certificate", certificateId=certificate_id)


def ensure(
    iot: IoT, plan: Plan, before: dict[str, Any] | None
) -> tuple[dict[str, Any] | None, dict[str, str] | None]:
    params = plan.module.params
    if before is None and params["state"] in ("revoked", "absent"):
        return None, None
    if before is not None and params["state"] == "absent":
        ensure_absent(iot, plan, before)
        return None, None
    if before is not None and before["status"] == "REVOKED" and params["state"] != "revoked":
        plan.module.fail_json(
            msg=f"Certificate {before['certificate_id']} is revoked and stays so: make a new key and certificate."
        )
    wanted, keys, current = desired(before, params), None, before
    if current is None:
        issued = plan.write(issue, iot, params["csr"])
        if issued is None:
            return wanted, None
        current, keys = issued
        wanted = {**current, **wanted}
    adjust(iot, plan, current, wanted)
    return wanted, keys


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "thing_name": {},
            "certificate_id": {},
            "csr": {},
            "policies": {"type": "list", "elements": "str"},
            "purge_policies": {"type": "bool", "default": True},
            "state": {"choices": ["active", "inactive", "revoked", "absent"], "default": "active"},
        },
        required_one_of=[("thing_name", "certificate_id")],
        required_by={"csr": ["thing_name"]},
        mutually_exclusive=[("csr", "certificate_id")],
        supports_check_mode=True,
    )
    if module.params["csr"] and not HAS_CRYPTOGRAPHY:
        module.fail_json(msg=missing_required_lib("cryptography"))
    iot, plan = IoT(module), Plan(module)
    before = current_certificate(iot, module.params)
    after, keys = ensure(iot, plan, before)
    module.exit_json(
        changed=plan.changed,
        certificate=after or {},
        diff=differs(shown(before), shown(after)),
        **({"key_pair": keys} if keys else {}),
    )


def shown(certificate: dict[str, Any] | None) -> dict[str, Any]:
    """Return what a diff shows: a PEM is noise there."""
    return {name: value for name, value in (certificate or {}).items() if name != "certificate_pem"}


if __name__ == "__main__":
    main()
