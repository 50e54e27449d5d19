"""Role receiver's view of its pods' secrets: what is read from metrics, and when a wait is over."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.iotweb.deployment.plugins.modules import receiver_secrets
from ansible_collections.iotweb.deployment.plugins.modules.receiver_secrets import (
    Pod,
    Watch,
    complaint,
    follow,
    read,
    starting,
)

from tests.templates.render import variable

OLD, NEW = "0123456789ab", "ba9876543210"
METRICS = f"""\
# TYPE iot_receiver_secret_uses_total counter
iot_receiver_secret_uses_total{{fingerprint="{OLD}",secret="current"}} 40
iot_receiver_secret_uses_total{{fingerprint="{OLD}",secret="previous"}} 2
iot_receiver_secret_uses_total{{fingerprint="{NEW}",secret="current"}} 1.2e+03
# TYPE iot_receiver_secret_info gauge
iot_receiver_secret_info{{fingerprint="{OLD}",secret="previous"}} 1
iot_receiver_secret_info{{fingerprint="{NEW}",secret="current"}} 1
iot_receiver_up 1
"""


def pod(uses: int = 0, *taken: str) -> Pod:
    return Pod(frozenset(taken), {OLD: uses})


def test_metrics_are_asked_for_where_no_message_waits() -> None:
    assert variable("receiver", "__receiver_health_port") == receiver_secrets.PORT


def test_metrics_are_read_by_fingerprint_whatever_a_secret_is_called() -> None:
    assert read(METRICS) == Pod(frozenset({OLD, NEW}), {OLD: 42, NEW: 1200})
    assert read("iot_receiver_up 1\n") == Pod()


@pytest.mark.parametrize(
    ("state", "pods", "reached"),
    [
        ("taken", {"a": pod(0, NEW, OLD), "b": pod(0, NEW)}, True),
        ("taken", {"a": pod(0, NEW), "b": pod(0, OLD)}, False),
        ("taken", {"a": pod(0, NEW), "b": "is starting"}, False),
        ("taken", {}, False),
        ("refused", {"a": pod(0, OLD), "b": pod()}, True),
        ("refused", {"a": pod(0, NEW), "b": pod()}, False),
    ],
)
def test_every_pod_counts(state: str, pods: dict[str, Pod | str], reached: bool) -> None:
    assert Watch(NEW, state, 1).reached(pods, 0) is reached


def test_unused_is_counted_from_the_last_use() -> None:
    watch = Watch(OLD, "unused", 10)
    assert not watch.reached({"a": pod(5)}, 0)
    assert not watch.reached({"a": pod(5)}, 9)
    assert not watch.reached({"a": pod(6)}, 9.5)
    assert not watch.reached({"a": pod(6)}, 19)
    assert watch.reached({"a": pod(6)}, 19.5)
    assert watch.uses == 1


@pytest.mark.parametrize(
    ("later", "uses"),
    [
        ({"a": pod(5), "b": pod(0)}, 0),  # a new pod that nobody has given it to
        ({"a": pod(5), "b": pod(3)}, 3),  # a new pod that somebody has
        ({"a": pod(2)}, 2),  # started anew since, and used since
        ({"a": "is starting", "b": pod(0)}, 0),
    ],
)
def test_pods_that_come_go_and_start_anew(later: dict[str, Pod | str], uses: int) -> None:
    watch = Watch(OLD, "unused", 10)
    watch.reached({"a": pod(5)}, 0)
    unknown = any(isinstance(one, str) for one in later.values())
    assert watch.reached(later, 10) is not (uses > 0 or unknown)
    assert watch.uses == uses


def test_waiting_ends_with_the_state_or_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(receiver_secrets, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda _: None))

    def looks() -> Iterator[dict[str, Pod | str]]:
        yield {"a": pod(0, OLD)}
        while True:
            yield {"a": pod(0, NEW)}

    seen = looks()
    assert follow(Watch(NEW, "taken", 1), lambda: next(seen), 10, 1)[0]
    assert not follow(Watch("f" * 12, "taken", 1), lambda: next(seen), 10, 1)[0]


PARAMS = {"wait_timeout": 30.0, "namespace": "apps", "label_selector": "app=receiver"}


@pytest.mark.parametrize(
    ("state", "looks", "words"),
    [
        ("taken", [{}], "No pod app=receiver runs in namespace apps: deploy the receiver first"),
        ("taken", [{"a": pod(0, OLD)}], "a does not take the secret yet"),
        ("taken", [{"a": "does not show its metrics (timed out)"}], "a does not show its metrics (timed out)"),
        ("refused", [{"a": pod(0, NEW)}], "a still takes the secret"),
        ("unused", [{"a": pod(1)}, {"a": pod(8)}], "7 requests gave the old secret"),
    ],
)
def test_what_is_said_of_a_wait_in_vain(state: str, looks: list[dict[str, Pod | str]], words: str) -> None:
    watch = Watch(OLD if state == "unused" else NEW, state, 10)
    for look in looks:
        assert not watch.reached(look, 0)
    assert words in complaint(watch, looks[-1], PARAMS)


def scheduled(age: float, **changes: Any) -> Any:
    made = datetime.now(UTC) - timedelta(seconds=age)
    metadata = SimpleNamespace(creation_timestamp=made, deletion_timestamp=changes.get("deleted"))
    return SimpleNamespace(metadata=metadata, spec=SimpleNamespace(node_name=changes.get("node", "node-1")))


def test_a_pod_that_will_not_start_holds_nothing_up() -> None:
    assert starting(scheduled(5))
    assert not starting(scheduled(600))
    assert not starting(scheduled(5, node=None))
    assert not starting(scheduled(5, deleted=datetime.now(UTC)))
