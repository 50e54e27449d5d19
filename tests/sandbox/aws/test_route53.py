"""Route 53: a change is PENDING, then INSYNC; until then name servers, asked as any resolver asks, do not have it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest
from botocore.exceptions import ClientError

from tests.sandbox.aws.emulator import Emulator, running
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.waiting import until

Ask = Callable[..., dns.message.Message]


@pytest.fixture(scope="module", name="port")
def _port() -> int:
    return free_port()


@pytest.fixture(scope="module", name="emulator")
def _emulator(tmp_path_factory: pytest.TempPathFactory, aws_authority: Authority, port: int) -> Iterator[Emulator]:
    variables = {"ROUTE53_SYNC_TIME": "2", "NAME_SERVER": f"127.0.0.1:{port}", "LOAD_BALANCER_ADDRESS": "192.0.2.80"}
    with running(tmp_path_factory.mktemp("route53"), aws_authority, **variables) as emulator:
        yield emulator


@pytest.fixture(name="ask")
def _ask(emulator: Emulator, port: int) -> Ask:
    def ask(name: str, kind: str = "A", by: Callable[..., dns.message.Message] = dns.query.udp) -> dns.message.Message:
        return by(dns.message.make_query(name, kind), "127.0.0.1", port=port, timeout=10)

    return ask


def put(emulator: Emulator, name: str, kind: str, value: str, action: str = "UPSERT") -> dict[str, Any]:
    route53 = emulator.client("route53")
    zone = route53.list_hosted_zones_by_name(DNSName="sandbox.test")["HostedZones"][0]["Id"]
    record = {"Name": name, "Type": kind, "TTL": 60, "ResourceRecords": [{"Value": value}]}
    batch = {"Changes": [{"Action": action, "ResourceRecordSet": record}]}
    return dict(route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)["ChangeInfo"])


def test_a_change_is_pending_before_it_is_insync(emulator: Emulator) -> None:
    """https://docs.aws.amazon.com/Route53/latest/APIReference/API_GetChange.html"""
    route53 = emulator.client("route53")
    made = put(emulator, "a.sandbox.test", "A", "192.0.2.1")
    other = put(emulator, "b.sandbox.test", "A", "192.0.2.1")
    assert made["Status"] == "PENDING"
    assert made["Id"] != other["Id"]

    def change() -> dict[str, Any]:
        return dict(route53.get_change(Id=made["Id"])["ChangeInfo"])

    assert (change()["Id"], change()["SubmittedAt"]) == (made["Id"], made["SubmittedAt"])
    route53.get_waiter("resource_record_sets_changed").wait(Id=made["Id"], WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    assert change()["Status"] == "INSYNC"
    assert route53.get_change(Id=made["Id"].rpartition("/")[2])["ChangeInfo"]["Status"] == "INSYNC"


def test_an_unknown_change_is_refused(emulator: Emulator) -> None:
    with pytest.raises(ClientError, match="Could not find resource with ID: C0000000000000") as refused:
        emulator.client("route53").get_change(Id="C0000000000000")
    assert refused.value.response["Error"]["Code"] == "NoSuchChange"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_a_certificate_waits_for_its_record_to_be_insync(emulator: Emulator) -> None:
    acm = emulator.client("acm")
    arn = acm.request_certificate(DomainName="late.sandbox.test", ValidationMethod="DNS")["CertificateArn"]

    def found() -> dict[str, Any]:
        return dict(acm.describe_certificate(CertificateArn=arn)["Certificate"])

    record = found()["DomainValidationOptions"][0]["ResourceRecord"]
    change = put(emulator, record["Name"], record["Type"], record["Value"])
    status, option = found()["Status"], found()["DomainValidationOptions"][0]
    if emulator.client("route53").get_change(Id=change["Id"])["ChangeInfo"]["Status"] == "PENDING":
        assert (status, option["ValidationStatus"]) == ("PENDING_VALIDATION", "PENDING_VALIDATION")
    until(lambda: found()["Status"] == "ISSUED", 30)
    put(emulator, "c.sandbox.test", "A", "192.0.2.1")
    assert found()["DomainValidationOptions"][0]["ValidationStatus"] == "SUCCESS"


def insync(emulator: Emulator, change: str) -> None:
    waiter = emulator.client("route53").get_waiter("resource_record_sets_changed")
    waiter.wait(Id=change, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


def test_a_missing_name_may_be_kept_for_the_zones_900_seconds(ask: Ask) -> None:
    """https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/SOA-NSrecords.html; RFC 2308"""
    answer = ask("nobody.sandbox.test")
    assert answer.rcode() == dns.rcode.NXDOMAIN
    assert answer.flags & dns.flags.AA
    (soa,) = answer.authority
    assert (soa.name.to_text(), soa.ttl, soa[0].minimum) == ("sandbox.test.", 900, 86400)
    there = ask("sandbox.test")
    assert (there.rcode(), there.answer, there.authority[0].ttl) == (dns.rcode.NOERROR, [], 900)


def test_a_record_is_missing_until_its_change_is_insync(emulator: Emulator, ask: Ask) -> None:
    change = put(emulator, "soon.sandbox.test", "A", "192.0.2.1")
    early = ask("soon.sandbox.test")
    if emulator.client("route53").get_change(Id=change["Id"])["ChangeInfo"]["Status"] == "PENDING":
        assert early.rcode() == dns.rcode.NXDOMAIN
    insync(emulator, change["Id"])
    assert [one.to_text() for one in ask("SOON.sandbox.test").answer] == ["SOON.sandbox.test. 60 IN A 192.0.2.1"]
    change = put(emulator, "soon.sandbox.test", "A", "192.0.2.2")
    early = ask("soon.sandbox.test")
    if emulator.client("route53").get_change(Id=change["Id"])["ChangeInfo"]["Status"] == "PENDING":
        assert early.answer[0][0].address == "192.0.2.1"
    insync(emulator, change["Id"])
    assert ask("soon.sandbox.test", by=dns.query.tcp).answer[0][0].address == "192.0.2.2"
    servers = ask("sandbox.test", "NS").answer[0]
    assert {server.target.to_text().partition("-")[0] for server in servers} == {"ns"}


def test_names_of_no_zone_are_refused(ask: Ask) -> None:
    answer = ask("ingest.example.com")
    assert answer.rcode() == dns.rcode.REFUSED
    assert not answer.flags & dns.flags.AA


def test_an_alias_leads_to_a_load_balancer_that_there_is(emulator: Emulator, ask: Ask) -> None:
    ec2, elb, route53 = (emulator.client(service) for service in ("ec2", "elbv2", "route53"))
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"][:2]]
    balancer = elb.create_load_balancer(Name="ingest", Subnets=subnets)["LoadBalancers"][0]
    zone = route53.list_hosted_zones_by_name(DNSName="sandbox.test")["HostedZones"][0]["Id"]
    for name, target in (("ingest", balancer["DNSName"]), ("gone", f"gone-1.{balancer['DNSName'].partition('.')[2]}")):
        alias = {"HostedZoneId": balancer["CanonicalHostedZoneId"], "DNSName": target, "EvaluateTargetHealth": True}
        record = {"Name": f"{name}.sandbox.test", "Type": "A", "AliasTarget": alias}
        batch = {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record}]}
        change = route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)["ChangeInfo"]["Id"]
    insync(emulator, change)
    assert ask("ingest.sandbox.test").answer[0][0].address == "192.0.2.80"
    gone = ask("gone.sandbox.test")
    assert (gone.rcode(), gone.answer) == (dns.rcode.NOERROR, [])
    insync(emulator, put(emulator, "old.sandbox.test", "CNAME", "ingest.sandbox.test")["Id"])
    assert [one.to_text() for one in ask("old.sandbox.test").answer] == [
        "old.sandbox.test. 60 IN CNAME ingest.sandbox.test.",
        "ingest.sandbox.test. 60 IN A 192.0.2.80",
    ]


SET = "resource record set [name='{}.sandbox.test.', type='A']"
BESIDE_ALIAS = " because a conflicting RRSet of type CNAME with the same DNS name already exists"
RECORD = "RRSet of type {} with DNS name {}sandbox.test. is not permitted"


@pytest.mark.parametrize(
    ("action", "name", "kind", "said"),
    [
        ("CREATE", "is.", "A", f"Tried to create {SET.format('is')} but it already exists"),
        ("DELETE", "not.", "A", f"Tried to delete {SET.format('not')} but it was not found"),
        ("UPSERT", "alias.", "A", RECORD + BESIDE_ALIAS),
        ("UPSERT", "is.", "CNAME", RECORD + " as it conflicts with other records with the same DNS name"),
        ("CREATE", "", "CNAME", RECORD + " at apex"),
    ],
)
def test_records_that_no_zone_may_have(emulator: Emulator, action: str, name: str, kind: str, said: str) -> None:
    """RJPearson94/terraform-aws-open-next#24, ansible-collections/amazon.aws#2694"""
    put(emulator, "is.sandbox.test", "A", "192.0.2.1")
    put(emulator, "alias.sandbox.test", "CNAME", "is.sandbox.test.")
    with pytest.raises(ClientError) as refused:
        put(emulator, f"{name}sandbox.test", kind, "192.0.2.9" if kind == "A" else "x.test.", action)
    assert refused.value.response["Error"]["Code"] == "InvalidChangeBatch"
    said = said.format(kind, name) + (" in zone sandbox.test." if said.startswith("RRSet") else "")
    assert refused.value.response["Error"]["Message"] == f"[{said}]"
