"""Certificates against an emulated account: issued, attached, switched, revoked, gone."""

from typing import Any

import pytest
from faults import Proxy
from helpers import Aws, Run, document, pair, prediction_holds

MODULE = "iot_certificate"


def told(aws: Aws, certificate_id: str) -> dict[str, Any]:
    """A certificate as boto3 tells it, in the module's spelling."""
    iot = aws("iot")
    seen = iot.describe_certificate(certificateId=certificate_id)["certificateDescription"]
    arn = seen["certificateArn"]
    policies = iot.list_attached_policies(target=arn)["policies"]
    return {
        "certificate_id": seen["certificateId"],
        "certificate_arn": arn,
        "certificate_pem": seen["certificatePem"],
        "status": seen["status"],
        "things": sorted(iot.list_principal_things(principal=arn)["things"]),
        "policies": sorted(policy["policyName"] for policy in policies),
    }


@pytest.fixture(name="things", scope="module")
def _things(endpoint: str) -> None:
    import boto3  # noqa: PLC0415 - after the finder

    iot = boto3.client("iot", endpoint_url=endpoint, region_name="us-east-2",
                       aws_access_key_id="a", aws_secret_access_key="b")  # fmt: skip
    for name in ("c1", "c2", "c3", "c4", "c5", "c6"):
        iot.create_thing(thingName=name)
    for name in ("q1", "q2"):
        iot.create_policy(policyName=name, policyDocument=str(document("iot:Connect")).replace("'", '"'))


pytestmark = pytest.mark.usefixtures("things")


def test_for_a_csr(run: Run, aws: Aws) -> None:
    csr, _ = pair()
    issued = prediction_holds(run, MODULE, "certificate", thing_name="c1", csr=csr, policies=["q1"])
    assert issued["changed"]
    assert "key_pair" not in issued
    certificate = issued["certificate"]
    assert certificate == told(aws, certificate["certificate_id"])
    assert (certificate["status"], certificate["things"], certificate["policies"]) == ("ACTIVE", ["c1"], ["q1"])
    for options, status, policies in (
        ({"csr": csr, "policies": ["q2"], "purge_policies": False}, "ACTIVE", ["q1", "q2"]),
        ({"csr": csr, "policies": ["q2"]}, "ACTIVE", ["q2"]),
        ({"state": "inactive"}, "INACTIVE", ["q2"]),
        ({"csr": csr, "policies": []}, "ACTIVE", []),
        ({"state": "revoked"}, "REVOKED", []),
    ):
        changed = prediction_holds(run, MODULE, "certificate", thing_name="c1", **options)
        assert changed["changed"]
        assert changed["certificate"] == told(aws, certificate["certificate_id"])
        assert (changed["certificate"]["status"], changed["certificate"]["policies"]) == (status, policies)
    for check in (True, False):
        assert "revoked" in run(MODULE, thing_name="c1", csr=csr, check=check)["msg"]
    renewed = run(MODULE, thing_name="c1", csr=pair()[0])["certificate"]
    assert renewed["certificate_id"] != certificate["certificate_id"]
    for one in (certificate, renewed):
        number = one["certificate_id"]
        assert prediction_holds(run, MODULE, "certificate", certificate_id=number, state="absent")["changed"]
        assert number not in [held["certificateId"] for held in aws("iot").list_certificates()["certificates"]]


def test_with_keys_of_aws(run: Run) -> None:
    issued = run(MODULE, thing_name="c2")
    assert issued["key_pair"]["private_key"].startswith("-----BEGIN")
    again = run(MODULE, thing_name="c2")
    assert again["certificate"] == issued["certificate"]
    assert "key_pair" not in again
    run(MODULE, thing_name="c2", csr=pair()[0])
    ambiguous = run(MODULE, thing_name="c2")
    assert issued["certificate"]["certificate_id"] in ambiguous["msg"]
    assert "certificate_id" in ambiguous["msg"]


@pytest.mark.parametrize("state", ["revoked", "absent"])
def test_what_is_not_there_is_neither_revoked_nor_deleted(run: Run, state: str) -> None:
    for options in ({"thing_name": "c6"}, {"thing_name": "nothing"}, {"certificate_id": "0" * 64}):
        assert not prediction_holds(run, MODULE, "certificate", state=state, **options)["changed"]


def test_it_moves_to_another_thing(run: Run, aws: Aws) -> None:
    number = run(MODULE, thing_name="c3", csr=pair()[0])["certificate"]["certificate_id"]
    both = prediction_holds(run, MODULE, "certificate", certificate_id=number, thing_name="c4")
    assert both["certificate"]["things"] == ["c3", "c4"] == told(aws, number)["things"]
    moved = prediction_holds(run, MODULE, "certificate", certificate_id=number, thing_name="c4", purge_things=True)
    assert moved["certificate"]["things"] == ["c4"] == told(aws, number)["things"]
    assert moved["diff"]["before"]["things"] == ["c3", "c4"]
    assert "certificate_pem" not in moved["diff"]["after"]


def test_nothing_is_issued_for_what_is_not_there(run: Run, aws: Aws) -> None:
    before = len(aws("iot").list_certificates()["certificates"])
    refused = run(MODULE, thing_name="nobody", csr=pair()[0], wait_timeout=1)
    assert "no thing nobody: make it by iot_thing" in refused["msg"]
    refused = run(MODULE, thing_name="c5", csr=pair()[0], policies=["none"], wait=False)
    assert "no policy none: make it by iot_policy" in refused["msg"]
    assert len(aws("iot").list_certificates()["certificates"]) == before
    assert run(MODULE, thing_name="nobody", csr=pair()[0], check=True)["changed"]  # iot_thing's check comes before


def test_a_thing_made_a_moment_ago_is_waited_for(run: Run, aws: Aws, proxy: Proxy) -> None:
    missing = "ResourceNotFoundException"
    proxy.refuse("GET /things/c5$", missing, times=2, status=404)
    proxy.refuse("PUT /things/c5/principals$", missing, times=1, status=404)
    proxy.refuse("PUT /target-policies/q1$", missing, status=404)
    proxy.refuse("PUT /certificates/", missing, status=404)
    proxy.refuse("GET /certificates/", missing, times=2, status=404)
    issued = run(MODULE, thing_name="c5", csr=pair()[0], policies=["q1"], endpoint_url=proxy.url)
    assert issued["certificate"] == told(aws, issued["certificate"]["certificate_id"])
    assert issued["certificate"]["status"] == "ACTIVE"
    proxy.refuse("DELETE /certificates/", "CertificateStateException", times=1, message="must not be ACTIVE")
    proxy.refuse("DELETE /certificates/", "DeleteConflictException", times=1, status=409)
    assert run(MODULE, thing_name="c5", state="absent", endpoint_url=proxy.url)["changed"]


def test_it_is_active_only_when_all_is_attached(run: Run, aws: Aws, proxy: Proxy) -> None:
    proxy.refuse("PUT /target-policies/q1$", "LimitExceededException", times=9)
    failed = run(MODULE, thing_name="c6", csr=pair()[0], policies=["q1"], endpoint_url=proxy.url)
    assert "attach_policy of q1 and" in failed["msg"]
    assert "quota" in failed["msg"]
    arns = aws("iot").list_thing_principals(thingName="c6")["principals"]
    assert [told(aws, arn.rpartition("/")[2])["status"] for arn in arns] == ["INACTIVE"]
    for arn in arns:
        run(MODULE, certificate_id=arn.rpartition("/")[2], state="absent")


def test_what_a_run_that_was_killed_had_issued_is_taken(run: Run, aws: Aws) -> None:
    csr, iot = pair()[0], aws("iot")
    iot.create_certificate_from_csr(certificateSigningRequest=pair()[0], setAsActive=False)  # another's
    left = iot.create_certificate_from_csr(certificateSigningRequest=csr, setAsActive=False)["certificateId"]
    before = len(iot.list_certificates()["certificates"])
    taken = prediction_holds(run, MODULE, "certificate", thing_name="c6", csr=csr, policies=["q1"])
    assert taken["certificate"] == told(aws, left)
    assert (taken["certificate"]["status"], taken["certificate"]["things"]) == ("ACTIVE", ["c6"])
    assert len(iot.list_certificates()["certificates"]) == before
    run(MODULE, certificate_id=left, state="absent")


def test_what_is_no_csr(run: Run) -> None:
    assert "PEM" in run(MODULE, thing_name="c6", csr="nonsense")["msg"]
    assert "thing_name" in run(MODULE, certificate_id="0" * 64)["msg"]
