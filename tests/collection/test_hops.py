"""What playbooks/status.yml says of each hop, and which it calls broken."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from ansible_collections.iotweb.deployment.plugins.module_utils.hops import (
    BROKEN,
    NOTE,
    OK,
    WIDTH,
    Enrolment,
    Hop,
    certificate,
    chart,
    controller,
    dead_letters,
    enrolments,
    image,
    rollout,
    seen,
    table,
    verdict,
)
from ansible_collections.iotweb.deployment.plugins.modules import deployment_status

NOW = datetime.now(UTC)
YEAR = timedelta(days=365)


def deployment(wanted: int, ready: int, updated: int) -> dict[str, Any]:
    """A Deployment of Kubernetes."""
    return {"metadata": {"namespace": "apps"}, "spec": {"replicas": wanted},
            "status": {"readyReplicas": ready, "updatedReplicas": updated}}  # fmt: skip


@pytest.mark.parametrize(
    ("pods", "mark"), [((2, 2, 2), OK), ((2, 1, 2), NOTE), ((2, 2, 1), NOTE), ((2, 0, 2), BROKEN), ((0, 0, 0), OK)]
)
def test_a_rollout_is_broken_if_no_pod_is_ready(pods: tuple[int, int, int], mark: str) -> None:
    assert rollout("receiver", deployment(*pods), "receiver").mark == mark


@pytest.mark.parametrize(
    ("labels", "text", "differs"),
    [
        ({"helm.sh/chart": "aws-load-balancer-controller-3.2.2"}, "chart 3.2.2", False),
        ({"chart": "kube-prometheus-stack-3.2.1"}, "chart 3.2.1 (checkout: 3.2.2)", True),
        ({}, "chart ?", False),
    ],
)
def test_a_charts_version_is_compared(labels: dict[str, str], text: str, differs: bool) -> None:
    assert chart(labels, "3.2.2") == (text, differs)


@pytest.mark.parametrize(
    ("pods", "version", "said"),
    [
        ((1, 1, 1), "3.2.2", ""),
        ((1, 1, 1), "3.2.1", "this checkout installs another version"),
        ((1, 0, 1), "3.2.2", "readings arrive, but new pods get none until it runs"),
    ],
)
def test_a_controller_that_is_away_breaks_no_path(pods: tuple[int, int, int], version: str, said: str) -> None:
    found = deployment(*pods)
    found["metadata"]["labels"] = {"helm.sh/chart": f"aws-load-balancer-controller-{version}"}
    hop = controller(found, "3.2.2")
    assert (hop.mark, hop.fix.partition(":")[0]) == (NOTE if said else OK, said)


def test_what_seems_broken_is_looked_at_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    looks: dict[str, list[Hop | OSError]] = {
        "nodes": [Hop("nodes", "2 of 2")],
        "receiver": [Hop("receiver", "0 of 2", BROKEN), Hop("receiver", "1 of 2", NOTE)],
        "domain": [OSError("timed out"), Hop("domain", "answers")],
        "rule": [Hop("rule", "none", BROKEN), Hop("rule", "none", BROKEN)],
        "monitoring": [OSError("timed out")],
    }

    def look(name: str) -> Hop:
        found = looks[name].pop(0)
        if isinstance(found, OSError):
            raise found
        return found

    hops = deployment_status.looked_at([(name, partial(look, name)) for name in looks])
    assert [(hop.name, hop.mark) for hop in hops] == [
        ("nodes", OK), ("receiver", NOTE), ("domain", OK), ("rule", BROKEN), ("monitoring", NOTE),
    ]  # fmt: skip
    assert pauses == [deployment_status.PAUSE]
    assert not any(looks.values()), "each look that found nothing broken was made once"


def test_an_image_of_another_checkout_is_a_difference() -> None:
    same = image("r.example.com/iot:aaa", "sha256:0123", "r.example.com/iot:aaa")
    other = image("r.example.com/iot:aaa", "sha256:0123", "r.example.com/iot:bbb")
    assert (same.mark, other.mark) == (OK, NOTE)
    assert "aaa" in other.state
    assert "this checkout: bbb" in other.state
    assert "--tags receiver_image,receiver" in other.fix


@pytest.mark.parametrize(("days", "mark"), [(90, OK), (13, NOTE), (-1, BROKEN)])
def test_a_certificate_is_judged_by_its_end(days: int, mark: str) -> None:
    assert certificate(NOW + timedelta(days=days, hours=1), "certificate", "renew it").mark == mark


@pytest.mark.parametrize(
    ("certificates", "mark", "said"),
    [
        ([([NOW - YEAR], [NOW + YEAR])], OK, "1 of 1 devices have one, the oldest 365 days old (edge-0)"),
        ([([], [])], BROKEN, "0 of 1"),
        ([([], []), ([NOW], [NOW + YEAR])], NOTE, "1 of 2"),
        ([([NOW], [NOW + timedelta(days=3)])], NOTE, "1 of 1"),
        ([([NOW, NOW], [NOW + YEAR, NOW + YEAR])], NOTE, "1 of 1"),
        ([], NOTE, "no device is enrolled"),
    ],
)
def test_devices_certificates_are_judged(
    certificates: list[tuple[list[datetime], list[datetime]]], mark: str, said: str
) -> None:
    hop = enrolments([Enrolment(f"edge-{n}", *one) for n, one in enumerate(certificates)], len(certificates))
    assert hop.mark == mark
    assert said in hop.state
    assert bool(hop.fix) is (mark != OK)


@pytest.mark.parametrize(
    ("ages", "mark", "said"),
    [
        ({"edge-1": 5.0, "edge-2": 7_300.0}, OK, "2 of 2 devices seen in the last day, the newest reading 5 s old"),
        ({"edge-1": 90_000.0, "edge-2": None}, NOTE, "0 of 2 devices seen in the last day, the newest reading 1 d old"),
        ({}, NOTE, "no device publishes"),
    ],
)
def test_a_fleet_that_is_silent_is_named(ages: dict[str, float | None], mark: str, said: str) -> None:
    assert (seen(ages).mark, said in seen(ages).state) == (mark, True)


def test_waiting_dead_letters_are_counted_by_queue() -> None:
    assert dead_letters({"rule": 0, "receiver": 0}).mark == OK
    waiting = dead_letters({"rule": 3, "receiver": 0})
    assert (waiting.mark, waiting.state) == (NOTE, "3 on the rule's queue")


def test_the_table_is_aligned_and_the_first_broken_hop_named() -> None:
    hops = [
        Hop("rule", "enabled"),
        Hop("destination", "ERROR " * 99, BROKEN, "set A"),
        Hop("secret", "old", BROKEN, "B"),
        Hop("readings", "none", NOTE, "look there"),
    ]
    lines = table(hops)
    assert lines[0] == "rule         ok      enabled"
    assert lines[1].startswith("destination  BROKEN  ERROR ERROR")
    assert max(map(len, lines)) <= WIDTH
    assert lines[-1] == "readings: look there"
    assert verdict(hops).startswith("The path breaks at: destination")
    assert verdict(hops).endswith("set A")
    assert verdict(hops[:1]) == ""
