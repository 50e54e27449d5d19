"""What aioprometheus lacks: OpenMetrics 1.0 (https://prometheus.io/docs/specs/om/open_metrics_spec/), and
Prometheus' own text with any label.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aioprometheus.collectors import Counter, Gauge, Histogram, Registry
from aioprometheus.formats.base import IFormatter
from aioprometheus.formats.text import TextFormatter

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class EscapingTextFormatter(TextFormatter):
    """Prometheus' text; aioprometheus writes labels as they are, and one quote would spoil the whole scrape."""

    def _format_line(self, name: str, labels: dict[str, str], value: Any, const_labels: dict[str, str]) -> str:
        escaped = {label: _escaped(content) for label, content in labels.items()}
        return super()._format_line(name, escaped, value, const_labels)


class OpenMetricsFormatter(IFormatter):
    """Writes a registry of counters, gauges and histograms; counters must be named `…_total`."""

    def get_headers(self) -> dict[str, str]:
        """The headers of an answer in this format."""
        return {"Content-Type": CONTENT_TYPE}

    def marshall(self, registry: Registry) -> bytes:
        """Write the whole registry."""
        lines: list[str] = []
        for collector in sorted(registry.get_all(), key=lambda each: str(each.name)):
            family = collector.name
            form: Callable[[Any, str, Mapping[str, str]], list[str]]
            if isinstance(collector, Counter):
                form, kind, family = self._format_counter, "counter", family.removesuffix("_total")
            elif isinstance(collector, Gauge):
                form, kind = self._format_gauge, "gauge"
            elif isinstance(collector, Histogram):
                form, kind = self._format_histogram, "histogram"
            else:
                raise TypeError(f"{collector.name} is neither counter, gauge nor histogram")
            lines.append(f"# TYPE {family} {kind}")
            if family.endswith("_seconds"):
                lines.append(f"# UNIT {family} seconds")
            lines.append(f"# HELP {family} {_escaped(collector.doc)}")
            for sample in collector.get_all():
                lines.extend(form(sample, family, collector.const_labels))
        lines.append("# EOF\n")
        return "\n".join(lines).encode()

    def _format_counter(self, counter: Any, name: str, const_labels: Mapping[str, str]) -> list[str]:
        labels, value = counter
        return [_line(f"{name}_total", {**const_labels, **labels}, value)]

    def _format_gauge(self, gauge: Any, name: str, const_labels: Mapping[str, str]) -> list[str]:
        labels, value = gauge
        return [_line(name, {**const_labels, **labels}, value)]

    def _format_histogram(self, histogram: Any, name: str, const_labels: Mapping[str, str]) -> list[str]:
        labels, values = histogram
        labels = {**const_labels, **labels}
        lines = []
        for key, value in values.items():
            if isinstance(key, float):
                bound = "+Inf" if key == float("inf") else repr(key)
                lines.append(_line(f"{name}_bucket", {**labels, "le": bound}, value))
            else:
                lines.append(_line(f"{name}_{key}", labels, value))
        return lines

    def _format_summary(self, summary: Any, name: str, const_labels: Mapping[str, str]) -> list[str]:
        raise TypeError(f"{name} is a summary: give histograms instead")


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    text = ",".join(f'{label}="{_escaped(str(content))}"' for label, content in sorted(labels.items()))
    return f"{name}{{{text}}} {value}" if text else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def wants_openmetrics(accept: Sequence[str]) -> bool:
    """Say whether the Accept headers prefer OpenMetrics 1.0 to Prometheus' text (RFC 9110, 12.5.1)."""
    openmetrics = text = 0.0
    for entry in ",".join(accept).split(","):
        media, *rest = (part.strip().lower() for part in entry.split(";"))
        parameters = dict(part.split("=", 1) for part in rest if "=" in part)
        try:
            quality = float(parameters.get("q", "1"))
        except ValueError:
            continue
        if media == "application/openmetrics-text":
            if parameters.get("version", "1.0.0").strip('"') == "1.0.0":
                openmetrics = max(openmetrics, quality)
        elif media in {"text/plain", "text/*", "*/*"}:
            text = max(text, quality)
    return openmetrics > 0 and openmetrics >= text
