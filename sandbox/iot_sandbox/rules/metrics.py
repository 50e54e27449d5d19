"""What AWS counts of rules and their actions, under CloudWatch's names.

https://docs.aws.amazon.com/iot/latest/developerguide/metrics_dimensions.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator


class Metrics:
    """Counts since the start, by rule, action type (empty for the rule itself) and CloudWatch name."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str]] = Counter()

    def count(self, rule: str, name: str, action: str = "", by: int = 1) -> None:
        self._counts[rule, action, name] += by

    def value(self, rule: str, name: str, action: str = "") -> int:
        return self._counts[rule, action, name]

    def as_json(self) -> list[dict[str, str | int]]:
        """One object for each count."""
        return [
            {"RuleName": rule, "ActionType": action, "MetricName": name, "Sum": count}
            for (rule, action, name), count in sorted(self._counts.items())
        ]

    def as_text(self) -> Iterator[str]:
        """Lines of Prometheus' text format."""
        yield "# HELP iot_rules_total Events of rules and their actions, by CloudWatch's metric names"
        yield "# TYPE iot_rules_total counter"
        for (rule, action, name), count in sorted(self._counts.items()):
            yield f'iot_rules_total{{rule="{rule}",action="{action}",metric="{name}"}} {count}'
