"""Topic filters."""

import pytest
from iot_sandbox.shared.sql.topics import is_filter, matcher


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


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("things/telemetry", True),
        ("#", True),
        ("+/+/#", True),
        ("$aws/things/+/shadow", True),
        ("a//b", True),
        ("", False),
        ("a/#/b", False),
        ("a#", False),
        ("a/b+", False),
        ("##", False),
    ],
)
def test_what_is_a_filter(text: str, valid: bool) -> None:
    assert is_filter(text) is valid
