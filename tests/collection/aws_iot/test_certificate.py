"""Certificates against an emulated account: issued, attached, switched, revoked, gone."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.collection.faults import Answer, Fault, Proxy
from tests.collection.helpers import Aws, Run, document, pair, prediction_holds

MODULE = "iot_certificate"


def stored(aws: Aws, certificate_id: str) -> dict[str, Any]:
    """A certificate as boto3 returns it, in the module's spelling."""
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
    for name in ("c1", "c2", "c3", "c4", "c5", "c6", "c7"):
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
    assert certificate == stored(aws, certificate["certificate_id"])
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
        assert changed["certificate"] == stored(aws, certificate["certificate_id"])
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
    assert both["certificate"]["things"] == ["c3", "c4"] == stored(aws, number)["things"]
    moved = prediction_holds(run, MODULE, "certificate", certificate_id=number, thing_name="c4", purge_things=True)
    assert moved["certificate"]["things"] == ["c4"] == stored(aws, number)["things"]
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
    assert issued["certificate"] == stored(aws, issued["certificate"]["certificate_id"])
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
    assert [stored(aws, arn.rpartition("/")[2])["status"] for arn in arns] == ["INACTIVE"]
    for arn in arns:
        run(MODULE, certificate_id=arn.rpartition("/")[2], state="absent")


def test_what_a_run_that_was_killed_had_issued_is_taken(run: Run, aws: Aws) -> None:
    csr, iot = pair()[0], aws("iot")
    iot.create_certificate_from_csr(certificateSigningRequest=pair()[0], setAsActive=False)  # another's
    left = iot.create_certificate_from_csr(certificateSigningRequest=csr, setAsActive=False)["certificateId"]
    before = len(iot.list_certificates()["certificates"])
    taken = prediction_holds(run, MODULE, "certificate", thing_name="c6", csr=csr, policies=["q1"])
    assert taken["certificate"] == stored(aws, left)
    assert (taken["certificate"]["status"], taken["certificate"]["things"]) == ("ACTIVE", ["c6"])
    assert len(iot.list_certificates()["certificates"]) == before
    run(MODULE, certificate_id=left, state="absent")


def test_a_certificate_of_another_key_is_described_once(run: Run, aws: Aws, proxy: Proxy) -> None:
    iot = aws("iot")
    csrs = [pair()[0] for _ in range(2)]
    others = [iot.create_certificate_from_csr(certificateSigningRequest=csr)["certificateId"] for csr in csrs]
    options = {"thing_name": "c7", "csr": pair()[0], "endpoint_url": proxy.url}
    issued = run(MODULE, **options)
    assert issued["changed"]
    assert [proxy.count(f"GET /certificates/{each}$") for each in others] == [1, 1]
    for each in (issued["certificate"]["certificate_id"], *others):
        run(MODULE, certificate_id=each, state="absent")


@pytest.mark.parametrize("refused", ["PUT /target-policies/q1$", "PUT /things/c7/principals$", "PUT /certificates/"])
def test_what_fails_before_its_key_is_told_is_taken_back(run: Run, aws: Aws, proxy: Proxy, refused: str) -> None:
    """AWS returns a key once: a run that goes on with a certificate whose key nobody has would report success."""
    iot, options = aws("iot"), {"thing_name": "c7", "policies": ["q1"], "endpoint_url": proxy.url}
    before = {one["certificateId"] for one in iot.list_certificates()["certificates"]}
    proxy.refuse(refused, "UnauthorizedException", status=401)
    failed = run(MODULE, **options)
    assert "failed. Allow the caller iot:" in failed["msg"]
    assert "is deleted again: run again for another with its key" in failed["msg"]
    assert {one["certificateId"] for one in iot.list_certificates()["certificates"]} == before
    issued = run(MODULE, **options)
    assert issued["key_pair"]["private_key"].startswith("-----BEGIN")
    run(MODULE, certificate_id=issued["certificate"]["certificate_id"], state="absent")


def test_what_cannot_be_taken_back_is_named_and_not_taken_up(run: Run, aws: Aws, proxy: Proxy) -> None:
    options = {"thing_name": "c7", "policies": ["q1"], "endpoint_url": proxy.url}
    proxy.refuse("PUT /target-policies/q1$", "UnauthorizedException", status=401)
    proxy.refuse("DELETE /certificates/", "UnauthorizedException", status=401)
    failed = run(MODULE, **options)
    (left,) = re.findall("Certificate ([0-9a-f]{64}) was issued for this, and its key is lost", failed["msg"])
    assert stored(aws, left)["status"] == "INACTIVE"
    issued = run(MODULE, **options)
    assert issued["certificate"]["certificate_id"] != left
    assert "key_pair" in issued
    for number in (left, issued["certificate"]["certificate_id"]):
        run(MODULE, certificate_id=number, state="absent")


def test_a_key_is_told_although_reads_are_slow(run: Run, aws: Aws, proxy: Proxy) -> None:
    proxy.refuse("GET /certificates/", "ResourceNotFoundException", times=99, status=404)
    issued = run(MODULE, thing_name="c7", wait_timeout=1, endpoint_url=proxy.url)
    assert "does not show certificate" in str(issued["warnings"])
    assert issued["key_pair"]["private_key"].startswith("-----BEGIN")
    number = issued["certificate"]["certificate_id"]
    assert stored(aws, number)["status"] == "ACTIVE"
    run(MODULE, certificate_id=number, state="absent")


def test_a_lost_answer_leaves_one_certificate_for_a_csr(run: Run, aws: Aws, proxy: Proxy) -> None:
    before = len(aws("iot").list_certificates()["certificates"])
    proxy.lose_answer("POST /certificates$", "InternalFailureException")
    issued = run(MODULE, thing_name="c7", csr=pair()[0], endpoint_url=proxy.url)["certificate"]
    assert issued == stored(aws, issued["certificate_id"])
    assert (issued["status"], issued["things"]) == ("ACTIVE", ["c7"])
    assert len(aws("iot").list_certificates()["certificates"]) == before + 1
    run(MODULE, certificate_id=issued["certificate_id"], state="absent")


@pytest.mark.parametrize("call", ["POST /certificates$", "PUT /things/c7/principals$"])
def test_the_older_of_two_for_a_csr_stays(run: Run, aws: Aws, proxy: Proxy, call: str) -> None:
    """Another run is done before ours is issued, or while ours is attached, when its certificate has no thing yet."""
    csr, iot, others = pair()[0], aws("iot"), []

    def other_run() -> None:
        made = iot.create_certificate_from_csr(certificateSigningRequest=csr, setAsActive=True)
        iot.attach_thing_principal(thingName="c7", principal=made["certificateArn"])
        others.append(made["certificateId"])

    proxy.before(call, other_run)
    issued = run(MODULE, thing_name="c7", csr=csr, policies=["q1"], endpoint_url=proxy.url)["certificate"]
    assert issued == stored(aws, issued["certificate_id"])
    held = [arn.rpartition("/")[2] for arn in iot.list_thing_principals(thingName="c7")["principals"]]
    if call.startswith("POST"):
        assert held == [issued["certificate_id"]] == others
    else:  # the newer one is its run's to delete
        assert issued["certificate_id"] not in others
    assert (issued["status"], issued["policies"]) == ("ACTIVE", ["q1"])
    for number in held:
        run(MODULE, certificate_id=number, state="absent")


def test_an_older_one_that_only_its_thing_shows_stays(run: Run, aws: Aws, proxy: Proxy) -> None:
    """The list of the account lags behind, and shows another run's when ours is attached already."""
    csr, iot = pair()[0], aws("iot")
    other = iot.create_certificate_from_csr(certificateSigningRequest=csr, setAsActive=True)

    def without_it(forward: Callable[[], Answer]) -> Answer:
        answer = forward()
        listed = json.loads(answer.body)
        listed["certificates"] = [
            one for one in listed["certificates"] if one["certificateId"] != other["certificateId"]
        ]
        return Answer(answer.status, answer.headers, json.dumps(listed).encode())

    proxy.faults.append(Fault("GET /certificates$", without_it, times=9))
    proxy.before(
        "PUT /things/c7/principals$",
        lambda: iot.attach_thing_principal(thingName="c7", principal=other["certificateArn"]),
    )
    issued = run(MODULE, thing_name="c7", csr=csr, endpoint_url=proxy.url)["certificate"]
    assert issued == stored(aws, other["certificateId"])
    assert iot.list_thing_principals(thingName="c7")["principals"] == [other["certificateArn"]]
    run(MODULE, certificate_id=issued["certificate_id"], state="absent")


@pytest.mark.parametrize(("state", "statuses"), [("revoked", ["REVOKED"] * 2), ("absent", [])])
def test_all_for_a_key_are_locked_out(run: Run, aws: Aws, state: str, statuses: list[str]) -> None:
    csr, iot = pair()[0], aws("iot")
    for _ in range(2):
        made = iot.create_certificate_from_csr(certificateSigningRequest=csr, setAsActive=True)
        iot.attach_thing_principal(thingName="c7", principal=made["certificateArn"])
    assert prediction_holds(run, MODULE, "certificate", thing_name="c7", csr=csr, state=state)["changed"]
    numbers = [arn.rpartition("/")[2] for arn in iot.list_thing_principals(thingName="c7")["principals"]]
    assert [stored(aws, number)["status"] for number in numbers] == statuses
    run(MODULE, thing_name="c7", csr=csr, state="absent")


def test_what_is_no_csr(run: Run) -> None:
    for check in (True, False):
        for csr in ("nonsense", ""):
            assert "PEM" in run(MODULE, thing_name="c6", csr=csr, check=check)["msg"]
    assert "thing_name" in run(MODULE, certificate_id="0" * 64)["msg"]
