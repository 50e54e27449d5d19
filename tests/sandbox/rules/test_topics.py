"""Topic filters."""

import pytest
from iot_sandbox.rules.topics import matcher


@pytest.mark.parametrize(
    ("topic_filter", "topic", "matches"),
    [
        ("things/telemetry", "things/telemetry", True),
        ("things/telemetry", "things/telemetry/x", False),
        ("things/+", "things/telemetry", True),
        ("things/+", "things/", True),
        ("things/+", "things", False),
        ("things/+", "things/a/b", False),
        ("+/telemetry", "things/telemetry", True),
        ("+", "/", False),
        ("+/+", "/", True),
        ("things/#", "things/a/b", True),
        ("things/#", "things", True),
        ("things/#", "thingsx", False),
        ("#", "any/thing", True),
        ("#", "$aws/things", False),
        ("+/things", "$aws/things", False),
        ("$aws/#", "$aws/things", True),
        ("a.b/+", "axb/c", False),
        (None, "things", False),
    ],
)
def test_filters(topic_filter: str | None, topic: str, matches: bool) -> None:
    assert matcher(topic_filter)(topic) is matches
