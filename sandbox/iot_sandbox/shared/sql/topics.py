"""Topic filters of MQTT."""

from __future__ import annotations

import re
from collections.abc import Callable


def is_filter(text: str) -> bool:
    """Whether a text is a topic filter: ``+`` and ``#`` stand for whole levels, ``#`` for the last ones."""
    *upper, last = text.split("/")
    return text != "" and (last == "#" or _is_level(last)) and all(map(_is_level, upper))


def _is_level(level: str) -> bool:
    return level == "+" or not set("+#").intersection(level)


def matcher(topic_filter: str | None) -> Callable[[str], bool]:
    """Whether a topic matches a filter; none matches no filter."""
    if topic_filter is None:
        return lambda topic: False
    if "+" not in topic_filter and "#" not in topic_filter:
        return lambda topic: topic == topic_filter
    pattern = re.compile("".join(_parts(topic_filter)))
    return lambda topic: pattern.fullmatch(topic) is not None


def _parts(topic_filter: str) -> list[str]:
    """A regular expression, level by level; ``#`` also matches the level above it."""
    levels = topic_filter.split("/")
    parts = [] if levels[0] not in ("+", "#") else [r"(?!\$)"]
    for index, level in enumerate(levels):
        if level == "#" and index == len(levels) - 1:
            return [*parts, "(/.*)?" if index else ".*"]
        parts.append("/" * (index > 0) + ("[^/]*" if level == "+" else re.escape(level)))
    return parts
