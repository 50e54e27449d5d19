#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

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
    picks the one that was issued for the same key. Where the thing has none of that key, one that an interrupted
    run left without a thing is taken, if it is among the newest 250 of the account.
  - Where several runs at the same time issued one each for a CSR, the oldest stays.
  - Keys made by AWS can be had once. Where the rest of a run fails, the certificate is therefore deleted again. Where
    the answer with the keys is lost, a certificate stays that is inactive and belongs to no thing.
seealso:
  - module: iotweb.aws_iot.iot_certificate_info
  - module: iotweb.aws_iot.iot_thing
  - module: iotweb.aws_iot.iot_policy
author:
  - IoT receiver contributors (@iotweb)
options:
  thing_name:
    description:
      - Name of the existing thing the certificate belongs to and is attached to.
      - One of O(thing_name) and O(certificate_id) is required.
    type: str
  purge_things:
    description: Whether the certificate is detached from things other than O(thing_name).
    type: bool
    default: false
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
      - V(revoked) and V(absent) do nothing where there is none. V(absent) detaches it first. With O(csr) they are
        done to all certificates of the thing for the same key.
    type: str
    choices: [active, inactive, revoked, absent]
    default: active
notes:
  - The caller needs the permissions C(iot:AttachPolicy), C(iot:AttachThingPrincipal),
    C(iot:CreateCertificateFromCsr), C(iot:CreateKeysAndCertificate), C(iot:DeleteCertificate),
    C(iot:DescribeCertificate), C(iot:DescribeThing), C(iot:DetachPolicy), C(iot:DetachThingPrincipal),
    C(iot:GetPolicy), C(iot:ListAttachedPolicies), C(iot:ListCertificates), C(iot:ListPrincipalThings),
    C(iot:ListThingPrincipals), C(iot:UpdateCertificate); with O(owner) also C(iot:ListTagsForResource).
  - Set C(no_log) on tasks that let AWS make the keys.
extends_documentation_fragment:
  - iotweb.aws_iot.attributes
  - iotweb.aws_iot.owner
  - iotweb.aws_iot.wait
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Issue a certificate for a key that the sensor made
  iotweb.aws_iot.iot_certificate:
    thing_name: sensor-1
    csr: "{{ lookup('ansible.builtin.file', 'sensor-1.csr') }}"
    policies: [things]

- name: Issue a certificate and a key made by AWS
  iotweb.aws_iot.iot_certificate:
    thing_name: sensor-2
    policies: [things]
  no_log: true
  register: issued

- name: Revoke a stolen sensor's certificate
  iotweb.aws_iot.iot_certificate:
    thing_name: sensor-1
    state: revoked

- name: Move a sensor's certificate to another thing
  iotweb.aws_iot.iot_certificate:
    certificate_id: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
    thing_name: sensor-9
    purge_things: true

- name: Deactivate a sensor's certificate
  iotweb.aws_iot.iot_certificate:
    thing_name: sensor-2
    state: inactive

- name: Delete a certificate
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

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.iotweb.aws_iot.plugins.module_utils.certificate import (
    HAS_CRYPTOGRAPHY,
    NotOneError,
    chosen,
    csr_key,
    describe,
    described,
    desired,
    of_key,
    of_thing,
    older,
    shown,
)
from ansible_collections.iotweb.aws_iot.plugins.module_utils.iot import MISSING, WAIT_OPTIONS, IoT
from ansible_collections.iotweb.aws_iot.plugins.module_utils.owner import OWNER_OPTIONS, may_touch
from ansible_collections.iotweb.aws_iot.plugins.module_utils.tags import current_tags
from ansible_collections.iotweb.aws_iot.plugins.module_utils.thing import current_thing


def current_certificates(iot: IoT, params: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the certificates that are meant: one, or none, or all of a key, of which the first is returned."""
    meant: list[dict[str, Any]] = []
    if params["certificate_id"]:
        description = describe(iot, params["certificate_id"])
        meant = [description] if description else []
        if not meant and params["state"] in ("active", "inactive"):
            iot.module.fail_json(
                msg=f"There is no certificate {params['certificate_id']}: give thing_name alone to issue one."
            )
    else:
        try:
            key = csr_key(params["csr"]) if params["csr"] is not None else None
            meant = chosen(of_thing(iot, params["thing_name"]), key, params["state"])
            if not meant and key and params["state"] in ("active", "inactive"):
                meant = of_key(iot, params["thing_name"], key)[:1]
        except NotOneError as ids_found:
            iot.module.fail_json(
                msg=f"Thing {params['thing_name']} has more than one certificate:"
                f" say which by certificate_id, one of {ids_found}."
            )
        except ValueError as error:
            iot.module.fail_json(msg=f"csr is not a certificate signing request in PEM form: {error}")
    return [described(iot, description) for description in meant]


def exists(iot: IoT, operation: str, **named: str) -> bool:
    """Return whether something exists that may have been made a moment ago."""
    return iot.visible(lambda: iot.find(operation, **named)) is not None


def check_attachments(iot: IoT, current: dict[str, Any] | None, wanted: dict[str, Any]) -> None:
    """End the module where a thing or policy that is to be attached does not exist, before anything is issued.

    A check mode run may come before these are made, and says nothing.
    """
    if iot.module.check_mode:
        return
    held: dict[str, list[str]] = current or {"things": [], "policies": []}
    for name in sorted(set(wanted["things"]) - set(held["things"])):
        if not exists(iot, "describe_thing", thingName=name):
            iot.module.fail_json(msg=f"There is no thing {name}: make it by iot_thing first.")
    for name in sorted(set(wanted["policies"]) - set(held["policies"])):
        if not exists(iot, "get_policy", policyName=name):
            iot.module.fail_json(msg=f"There is no policy {name}: make it by iot_policy first.")


def is_ours(iot: IoT, found: list[dict[str, Any]]) -> bool:
    """Return whether every thing of these certificates, and what they are to be attached to, is the caller's."""
    params = iot.module.params
    if not params["owner"]:
        return True
    for name in sorted({thing for one in found for thing in one["things"]} | {params["thing_name"]} - {None}):
        thing = current_thing(iot, name)
        if not may_touch(iot.module, f"Thing {name}", thing and thing["attributes"]):
            return False
    held = {policy for one in found for policy in one["policies"]}
    for name in sorted(set(params["policies"] or []) - held):
        policy = iot.find("get_policy", policyName=name)
        if not may_touch(iot.module, f"Policy {name}", current_tags(iot, policy["policyArn"]) if policy else None):
            return False
    return True


def issue(iot: IoT, csr: str | None) -> tuple[dict[str, Any], dict[str, str] | None]:
    """Return a new inactive certificate, and its keys where AWS made them; nothing of both in check mode."""
    if csr is not None:
        answer = iot.write("create_certificate_from_csr", certificateSigningRequest=csr, setAsActive=False)
    else:
        answer = iot.write("create_keys_and_certificate", setAsActive=False)
    issued: dict[str, Any] = {"status": "INACTIVE", "things": [], "policies": []}
    if answer:
        issued["certificate_id"] = answer["certificateId"]
        issued["certificate_arn"] = answer["certificateArn"]
        issued["certificate_pem"] = answer["certificatePem"]
    pair = answer.get("keyPair")
    return issued, pair and {"private_key": pair["PrivateKey"], "public_key": pair["PublicKey"]}


def adjust(iot: IoT, current: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Attach and detach what differs; the status comes last, so that no certificate is active half done."""
    arn, seconds = current["certificate_arn"], iot.module.params["wait_timeout"]
    new = {MISSING: ""}  # a certificate just issued may not be known everywhere
    for name in sorted(set(wanted["things"]) - set(current["things"])):
        iot.persist("attach_thing_principal", seconds, new, thingName=name, principal=arn)
    for name in sorted(set(wanted["policies"]) - set(current["policies"])):
        iot.persist("attach_policy", seconds, new, policyName=name, target=arn)
    for name in sorted(set(current["things"]) - set(wanted["things"])):
        iot.remove("detach_thing_principal", thingName=name, principal=arn)
    for name in sorted(set(current["policies"]) - set(wanted["policies"])):
        iot.remove("detach_policy", policyName=name, target=arn)
    if current["status"] != wanted["status"]:
        number = current["certificate_id"]
        iot.persist("update_certificate", seconds, new, certificateId=number, newStatus=wanted["status"])


def ensure_absent(iot: IoT, current: dict[str, Any]) -> None:
    certificate_id, arn = current["certificate_id"], current["certificate_arn"]
    if current["status"] == "ACTIVE":  # AWS deletes no active certificate
        iot.write("update_certificate", certificateId=certificate_id, newStatus="INACTIVE")
    for name in current["policies"]:
        iot.remove("detach_policy", policyName=name, target=arn)
    for name in current["things"]:
        iot.remove("detach_thing_principal", thingName=name, principal=arn)
    still_active = {"CertificateStateException": "active"}
    iot.remove("delete_certificate", still_active, certificateId=certificate_id)
    iot.settled(
        lambda: describe(iot, certificate_id), lambda found: found is None, f"certificate {certificate_id}", None
    )


def brought(iot: IoT, current: dict[str, Any], keys: dict[str, str] | None = None) -> dict[str, Any]:
    """Bring a certificate to what is wanted, and return it. Its keys, if it has some, are not lost to a slow read."""
    wanted = desired(current, iot.module.params)
    adjust(iot, current, wanted)
    number = wanted["certificate_id"]

    def read() -> dict[str, Any] | None:
        description = describe(iot, number)
        return described(iot, description) if description else None

    settled: dict[str, Any] = iot.settled(
        read, lambda found: found == wanted, f"certificate {number}", wanted, patient=keys is not None
    )
    return settled


def withdraw(iot: IoT, issued: dict[str, Any]) -> str:
    """Take back a certificate whose keys a failure would lose, as far as AWS lets us; what became of it.

    Even where it stays it has no thing any more, by which another run would take it for one whose keys somebody has.
    """
    params, arn, number = iot.module.params, issued["certificate_arn"], issued["certificate_id"]
    iot.attempt("update_certificate", certificateId=number, newStatus="INACTIVE")
    iot.attempt("detach_thing_principal", thingName=params["thing_name"], principal=arn)
    for name in params["policies"] or []:
        iot.attempt("detach_policy", policyName=name, target=arn)
    if iot.attempt("delete_certificate", certificateId=number):
        return f"Certificate {number}, which was issued for this, is deleted again: run again for another with its key"
    return (
        f"Certificate {number} was issued for this, and its key is lost, but it could not be deleted again: delete it"
        " by iot_certificate with certificate_id and state: absent"
    )


def the_older(iot: IoT, ours: dict[str, Any]) -> dict[str, Any] | None:
    """Return the certificate for the same key to which ours gives way; None where ours stays."""
    first = older(iot, ours, iot.module.params["thing_name"])
    if first is None:
        return None
    ensure_absent(iot, ours)
    return described(iot, first)


def ensure_present(iot: IoT, before: dict[str, Any] | None) -> tuple[dict[str, Any], dict[str, str] | None]:
    """Return the certificate as it should be, and the keys that AWS made for it.

    Of several for one CSR the oldest stays. It is looked for twice: before ours is attached, when one whose answer was
    lost is not attached either, and after, when that of another run is.
    """
    wanted = desired(before, iot.module.params)
    check_attachments(iot, before, wanted)
    if before is not None:
        return brought(iot, before), None
    issued, keys = issue(iot, iot.module.params["csr"])
    if iot.module.check_mode:
        return wanted, None
    if keys:
        iot.undo = lambda: withdraw(iot, issued)
        return brought(iot, issued, keys), keys
    after = brought(iot, the_older(iot, issued) or issued)
    if after["certificate_id"] == issued["certificate_id"] and (first := the_older(iot, after)):
        after = brought(iot, first)
    return after, None


def ensure(iot: IoT, before: dict[str, Any] | None) -> tuple[dict[str, Any] | None, dict[str, str] | None]:
    state = iot.module.params["state"]
    if before is None and state in ("revoked", "absent"):
        return None, None
    if before is not None and state == "absent":
        ensure_absent(iot, before)
        return None, None
    if before is not None and before["status"] == "REVOKED" and state != "revoked":
        iot.module.fail_json(
            msg=f"Certificate {before['certificate_id']} is revoked and stays so: make a new key and certificate."
        )
    return ensure_present(iot, before)


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "thing_name": {},
            "purge_things": {"type": "bool", "default": False},
            "certificate_id": {},
            "csr": {},
            "policies": {"type": "list", "elements": "str"},
            "purge_policies": {"type": "bool", "default": True},
            "state": {"choices": ["active", "inactive", "revoked", "absent"], "default": "active"},
            **OWNER_OPTIONS,
            **WAIT_OPTIONS,
        },
        required_one_of=[("thing_name", "certificate_id")],
        required_by={"csr": ["thing_name"]},
        mutually_exclusive=[("csr", "certificate_id")],
        supports_check_mode=True,
    )
    if module.params["csr"] is not None and not HAS_CRYPTOGRAPHY:
        module.fail_json(msg=missing_required_lib("cryptography"))
    iot = IoT(module)
    found = current_certificates(iot, module.params)
    before = found[0] if found else None
    if not is_ours(iot, found):
        iot.exit("certificate", before, before)
    after, keys = ensure(iot, before)
    if module.params["state"] in ("revoked", "absent"):
        for other in found[1:]:  # for the same key, which must be of no use any more
            ensure(iot, other)
    diff = {"before": shown(before), "after": shown(after)}
    iot.exit("certificate", before, after, diff=diff, **({"key_pair": keys} if keys else {}))


if __name__ == "__main__":
    main()
