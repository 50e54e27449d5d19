# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates: which is meant, what is, what should be."""

from __future__ import annotations

from typing import Any

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    HAS_CRYPTOGRAPHY = True
except ImportError:
    HAS_CRYPTOGRAPHY = False

from ansible_collections.iotweb.aws_iot.plugins.module_utils.iot import IoT, instant

PAGE = 250  # the most that one call of ListCertificates returns
# Keys with ids of certificates that are for another key, which never changes: each is described once, not at each look.
OTHERS: set[tuple[bytes, str]] = set()

Certificate = dict[str, Any]
Description = dict[str, Any]


class NotOneError(Exception):
    """Several certificates answer to the description."""


def csr_key(pem: str) -> bytes:
    """Return the public key of a CSR. Raises ValueError when it isn't one."""
    return _der(x509.load_pem_x509_csr(pem.encode()).public_key())


def certificate_key(pem: str) -> bytes:
    """Return the public key of a certificate."""
    return _der(x509.load_pem_x509_certificate(pem.encode()).public_key())


def _der(key: Any) -> bytes:
    return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def age(one: Description) -> tuple[str, str]:
    """Return what all runs order certificates by, the oldest first."""
    return instant(one.get("creationDate")), one["certificateId"]


def chosen(candidates: list[Description], key: bytes | None, state: str) -> list[Description]:
    """Return the certificates that are meant, the first one first of all. Raises NotOneError with the ids.

    With a key: those issued for it, an active one first. Without: the only one that still counts;
    revoked ones count where revoking or deleting is asked for.
    """
    if key is not None:
        matching = [one for one in candidates if certificate_key(one["certificatePem"]) == key]
        return sorted(matching, key=lambda one: (one["status"] != "ACTIVE", one["status"] == "REVOKED", age(one)))
    living = [one for one in candidates if one["status"] != "REVOKED"]
    matching = living or (candidates if state in ("revoked", "absent") else [])
    if len(matching) > 1 and not (state == "revoked" and not living):
        raise NotOneError(", ".join(sorted(one["certificateId"] for one in matching)))
    return matching[:1]


def desired(current: Certificate | None, params: dict[str, Any]) -> Certificate:
    """Return the certificate as it should be: what isn't asked for stays."""
    wanted = dict(current or {"things": [], "policies": []})
    wanted["status"] = params["state"].upper()
    if params["thing_name"]:
        kept = set() if params["purge_things"] else set(wanted["things"])
        wanted["things"] = sorted(kept | {params["thing_name"]})
    if params["policies"] is not None:
        kept = set() if params["purge_policies"] else set(wanted["policies"])
        wanted["policies"] = sorted(kept | set(params["policies"]))
    return wanted


def describe(iot: IoT, certificate_id: str) -> Description | None:
    """Return what DescribeCertificate returns, None for no certificate."""
    answer = iot.find("describe_certificate", certificateId=certificate_id)
    return answer["certificateDescription"] if answer else None


def ids_of_thing(iot: IoT, name: str) -> list[str]:
    """Return the ids of the certificates attached to a thing."""
    principals = iot.list("list_thing_principals", "principals", thingName=name)
    return [arn.rpartition(":cert/")[2] for arn in principals if ":cert/" in arn]


def of_thing(iot: IoT, name: str) -> list[Description]:
    """Return the certificates attached to a thing."""
    return [found for found in (describe(iot, one) for one in ids_of_thing(iot, name)) if found]


def unattached(iot: IoT, key: bytes) -> list[Description]:
    """Return certificates that interrupted or concurrent runs issued for a key and have not attached yet.

    Only the newest certificates are looked at, which ListCertificates begins with.
    """
    newest = iot.call("list_certificates", pageSize=PAGE)["certificates"]
    inactive = [one["certificateId"] for one in newest if one["status"] == "INACTIVE"]
    seen = [describe(iot, each) for each in inactive if (key, each) not in OTHERS]
    matching = [one for one in seen if one and certificate_key(one["certificatePem"]) == key]
    OTHERS.update((key, one["certificateId"]) for one in seen if one and one not in matching)
    return [one for one in matching if not iot.list("list_principal_things", "things", principal=one["certificateArn"])]


def of_key(iot: IoT, thing: str, key: bytes) -> list[Description]:
    """Return the certificates for a key that still count, the thing's and those of no thing yet; oldest first.

    In this order, as another run may attach one between the two looks.
    """
    free = unattached(iot, key)
    held = [one for one in of_thing(iot, thing) if certificate_key(one["certificatePem"]) == key]
    found = {one["certificateId"]: one for one in [*free, *held] if one["status"] != "REVOKED"}
    return sorted(found.values(), key=age)


def older(iot: IoT, ours: Certificate, thing: str) -> Description | None:
    """Return the oldest certificate for the same key, where that is not ours; None where it is.

    Several come from runs at the same time, and from a call whose answer was lost and which was done again. Waits
    for reads that show ours, since others prove nothing.
    """
    key = certificate_key(ours["certificate_pem"])

    def seen() -> Description | None:
        found = of_key(iot, thing, key)
        return found[0] if any(one["certificateId"] == ours["certificate_id"] for one in found) else None

    first: Description | None = iot.visible(seen)
    return first if first and first["certificateId"] != ours["certificate_id"] else None


def described(iot: IoT, description: Description) -> Certificate:
    """Return a certificate with its attachments, in Ansible's spelling."""
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


def shown(certificate: Certificate | None) -> Certificate:
    """Return what a diff shows: a PEM is noise there."""
    return {name: value for name, value in (certificate or {}).items() if name != "certificate_pem"}
