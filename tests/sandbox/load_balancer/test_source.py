"""ELBv2's and Route 53's answers are read in all the forms they come in."""

import pytest
from iot_sandbox.load_balancer import source
from iot_sandbox.load_balancer.state import Condition, FixedResponse, Forward, Target, TargetGroup

LB = "k8s-apps-1.us-east-2.elb.amazonaws.com"


def alias(name: str, target: str, kind: str = "A") -> dict[str, object]:
    return {"Name": name, "Type": kind, "AliasTarget": {"DNSName": target}}


def test_aliases() -> None:
    records: list[dict[str, object]] = [
        alias("Ingest.Sandbox.test.", f"dualstack.{LB.upper()}."),
        alias("ingest.sandbox.test.", f"{LB}.", "AAAA"),
        {"Name": "www.sandbox.test.", "Type": "CNAME", "ResourceRecords": [{"Value": "ingest.sandbox.test"}]},
        {"Name": "loop.sandbox.test.", "Type": "CNAME", "ResourceRecords": [{"Value": "loop.sandbox.test"}]},
        alias("\\052.sandbox.test.", f"{LB}."),
        alias("else.sandbox.test.", "other.us-east-2.elb.amazonaws.com."),
        {"Name": "a.sandbox.test.", "Type": "A", "ResourceRecords": [{"Value": "192.0.2.1"}]},
    ]
    assert source.aliases([LB, "none"], records) == {
        LB: ("ingest.sandbox.test", "www.sandbox.test"),
        "none": (),
    }


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"Field": "path-pattern", "Values": ["/a"]}, Condition("path-pattern", ("/a",))),
        (
            {"Field": "path-pattern", "PathPatternConfig": {"Values": ["/a", "/b"]}},
            Condition("path-pattern", ("/a", "/b")),
        ),
    ],
)
def test_condition(data: dict[str, object], expected: Condition) -> None:
    assert source.condition(data) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ([{"Type": "forward", "TargetGroupArn": "a"}], Forward("a")),
        ([{"Type": "forward", "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": "a"}]}}], Forward("a")),
        (
            [{"Type": "forward", "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": t} for t in "ab"]}}],
            FixedResponse(501, "text/plain", "forward to several target groups is not carried out here"),
        ),
        (
            [{"Type": "redirect", "RedirectConfig": {"StatusCode": "HTTP_301"}}],
            FixedResponse(501, "text/plain", "redirect is not carried out here"),
        ),
        (
            [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}],
            FixedResponse(404, "text/plain", ""),
        ),
        (
            [
                {"Type": "authenticate-oidc", "Order": 1},
                {"Type": "forward", "TargetGroupArn": "a", "Order": 2},
            ],
            FixedResponse(501, "text/plain", "authenticate-oidc is not carried out here"),
        ),
    ],
)
def test_action(data: list[dict[str, object]], expected: object) -> None:
    assert source.action(data) == expected


def group(*health: str) -> TargetGroup:
    return TargetGroup("a", "g", targets=tuple(Target(f"10.0.0.{n}", 80, h) for n, h in enumerate(health)))


@pytest.mark.parametrize(
    ("health", "ready"),
    [
        (["healthy", "unhealthy", "initial", "draining"], [0]),
        (["unhealthy", "unhealthy", "draining", "initial"], [0, 1]),  # an ALB "fails open"
        (["initial", "draining"], []),
        ([], []),
    ],
)
def test_which_targets_get_requests(health: list[str], ready: list[int]) -> None:
    states = group(*health).states()
    assert [n for n in range(len(health)) if states[f"10.0.0.{n}", 80] == "ready"] == ready
