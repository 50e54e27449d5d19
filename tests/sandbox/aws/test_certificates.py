"""Device certificates: a broker that trusts the sandbox's CA must take them, and keys of requests are kept."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.sandbox.aws.emulator import Emulator


@pytest.fixture(name="iot")
def _iot(aws: Emulator) -> Any:
    return aws.client("iot")


def authority_of(aws: Emulator) -> x509.Certificate:
    return x509.load_pem_x509_certificate(aws.authority.certificate.read_bytes())


def request(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, name: str = "sensor-1") -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def public(key: Any) -> bytes:
    return bytes(key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))


def test_keys_and_certificate_belong_together(aws: Emulator, iot: Any) -> None:
    made = iot.create_keys_and_certificate(setAsActive=True)
    certificate = x509.load_pem_x509_certificate(made["certificatePem"].encode())
    certificate.verify_directly_issued_by(authority_of(aws))
    private = serialization.load_pem_private_key(made["keyPair"]["PrivateKey"].encode(), None)
    assert public(private.public_key()) == public(certificate.public_key())
    assert made["certificateId"] == certificate.fingerprint(hashes.SHA256()).hex()
    assert made["certificateArn"].endswith(f":cert/{made['certificateId']}")
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert ExtendedKeyUsageOID.CLIENT_AUTH in usage
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)])
def test_request_keeps_its_key_and_subject(
    aws: Emulator, iot: Any, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
) -> None:
    made = iot.create_certificate_from_csr(certificateSigningRequest=request(key, "kept"), setAsActive=False)
    certificate = x509.load_pem_x509_certificate(made["certificatePem"].encode())
    certificate.verify_directly_issued_by(authority_of(aws))
    assert public(certificate.public_key()) == public(key.public_key())
    assert certificate.subject.rfc4514_string() == "CN=kept"
    described = iot.describe_certificate(certificateId=made["certificateId"])["certificateDescription"]
    assert described["status"] == "INACTIVE"
    assert described["certificatePem"] == made["certificatePem"]
    assert described["validity"]["notAfter"].astimezone(dt.UTC) == certificate.not_valid_after_utc


@pytest.mark.parametrize(
    "csr",
    [
        "no request",
        request(rsa.generate_private_key(65537, 1024)),  # noqa: S505 - what AWS refuses
        request(ec.generate_private_key(ec.SECP256K1())),
    ],
)
def test_unusable_requests_are_refused(iot: Any, csr: str) -> None:
    with pytest.raises(ClientError, match="InvalidRequestException"):
        iot.create_certificate_from_csr(certificateSigningRequest=csr)


def test_status_moves_only_where_aws_lets_it(iot: Any) -> None:
    made = iot.create_keys_and_certificate(setAsActive=False)["certificateId"]
    for status in ("ACTIVE", "INACTIVE", "REVOKED", "INACTIVE", "ACTIVE"):
        iot.update_certificate(certificateId=made, newStatus=status)
        assert iot.describe_certificate(certificateId=made)["certificateDescription"]["status"] == status
    with pytest.raises(ClientError, match="CertificateStateException"):
        iot.update_certificate(certificateId=made, newStatus="PENDING_TRANSFER")
    with pytest.raises(ClientError, match="CertificateStateException"):
        iot.delete_certificate(certificateId=made)


def test_attached_certificate_stays_until_it_is_let_go(iot: Any) -> None:
    made = iot.create_keys_and_certificate(setAsActive=True)
    iot.create_thing(thingName="held")
    iot.attach_thing_principal(thingName="held", principal=made["certificateArn"])
    assert iot.list_thing_principals(thingName="held")["principals"] == [made["certificateArn"]]
    iot.update_certificate(certificateId=made["certificateId"], newStatus="INACTIVE")
    with pytest.raises(ClientError, match="DeleteConflictException"):
        iot.delete_certificate(certificateId=made["certificateId"])
    iot.detach_thing_principal(thingName="held", principal=made["certificateArn"])
    iot.delete_certificate(certificateId=made["certificateId"])
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        iot.describe_certificate(certificateId=made["certificateId"])


def test_a_certificate_with_a_policy_is_deleted_only_by_force(iot: Any) -> None:
    """https://docs.aws.amazon.com/iot/latest/apireference/API_DeleteCertificate.html"""
    document = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]}'
    iot.create_policy(policyName="held", policyDocument=document)
    group = iot.create_thing_group(thingGroupName="held")["thingGroupArn"]
    iot.attach_policy(policyName="held", target=group)
    made = iot.create_keys_and_certificate(setAsActive=True)
    iot.attach_policy(policyName="held", target=made["certificateArn"])
    with pytest.raises(ClientError, match="CertificateStateException"):
        iot.delete_certificate(certificateId=made["certificateId"], forceDelete=True)
    iot.update_certificate(certificateId=made["certificateId"], newStatus="INACTIVE")
    with pytest.raises(ClientError, match="DeleteConflictException"):
        iot.delete_certificate(certificateId=made["certificateId"])
    with pytest.raises(ClientError, match="DeleteConflictException"):
        iot.delete_certificate(certificateId=made["certificateId"], forceDelete=False)
    iot.create_thing(thingName="holder")
    iot.attach_thing_principal(thingName="holder", principal=made["certificateArn"])
    with pytest.raises(ClientError, match="DeleteConflictException"):
        iot.delete_certificate(certificateId=made["certificateId"], forceDelete=True)
    iot.detach_thing_principal(thingName="holder", principal=made["certificateArn"])
    iot.delete_certificate(certificateId=made["certificateId"], forceDelete=True)
    assert iot.list_targets_for_policy(policyName="held")["targets"] == [group]
    iot.detach_policy(policyName="held", target=group)
    iot.delete_policy(policyName="held")


def test_registered_certificate_is_not_registered_twice(aws: Emulator, iot: Any) -> None:
    pem = aws.authority.issue("registered").certificate.read_text()
    made = iot.register_certificate_without_ca(certificatePem=pem, status="ACTIVE")
    assert made["certificateId"] == x509.load_pem_x509_certificate(pem.encode()).fingerprint(hashes.SHA256()).hex()
    with pytest.raises(ClientError, match="ResourceAlreadyExistsException"):
        iot.register_certificate_without_ca(certificatePem=pem)
