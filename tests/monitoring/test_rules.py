"""Every alert, by Prometheus' own test tool: silent while all is well, and firing for its cause in time.

Series are written as promtool reads them: `0+3x20` begins at 0 and rises by 3 twenty times, once in 15 seconds.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring.conftest import Promtool
from tests.monitoring.objects import alerts, rules

LABELS = 'namespace="apps",job="iot-receiver"'
# Seconds between two values; days are looked at in longer strides, but within the five minutes that a value counts.
STEP, LONG = 15, 240
SELDOM = 60  # the longest scrape interval that is allowed


def series(name: str, values: str, pod: str = "a", **labels: str) -> dict[str, str]:
    """A series of a receiver's pod."""
    more = "".join(f',{label}="{value}"' for label, value in labels.items())
    return {"series": f'{name}{{{LABELS},pod="{pod}"{more}}}', "values": values}


def messages(**outcomes: str) -> list[dict[str, str]]:
    """The counters of one pod's messages; those not given stay at 0."""
    values = dict.fromkeys(("stored", "rejected", "dead_lettered", "unavailable"), "0x1300") | outcomes
    return [series("iot_receiver_messages_total", text, outcome=outcome) for outcome, text in values.items()]


def up(*pods: str) -> list[dict[str, str]]:
    """Whether Prometheus reaches pods."""
    return [series("up", values, pod=str(number)) for number, values in enumerate(pods)]


def buckets(name: str, rates: dict[str, float], steps: int = 80) -> list[dict[str, str]]:
    """A histogram whose buckets rise by so much a step."""
    found = [series(f"{name}_bucket", f"0+{rate}x{steps}", le=bound) for bound, rate in rates.items()]
    return [*found, series(f"{name}_count", f"0+{rates['+Inf']}x{steps}")]


@dataclass(frozen=True)
class Case:
    """Series, and whether an alert fires at a time; in which words, where the case is a firing one of its own kind."""

    name: str
    alert: str
    given: list[dict[str, str]]
    at: str
    fires: bool
    says: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    step: int = STEP

    @property
    def title(self) -> str:
        """Its name in a report."""
        return f"{self.alert}: {self.name}, {self.at}"


HEALTHY = [
    *messages(stored="0+150x160"),
    *up("1x160", "1x160"),
    *buckets("iot_receiver_write_seconds", {"0.025": 15, "0.25": 15, "+Inf": 15}, 160),
    series("iot_receiver_batch_items_sum", "0+150x160"),
    series("iot_receiver_queue_items", "2x160"),
    series("iot_receiver_throttled_writes_total", "0x160"),
    series("iot_receiver_unprocessed_items_total", "0x160"),
    *(series("iot_receiver_clock_skew_messages_total", "0x160", direction=each) for each in ("ahead", "behind")),
    series("iot_receiver_requests_total", "0+15x160", status="200"),
    series("iot_receiver_secret_uses_total", "0+15x160", secret="current", fingerprint="aa"),
    series("iot_receiver_secret_uses_total", "0x160", secret="previous", fingerprint="bb"),
    series("iot_receiver_secret_info", "1x160", secret="previous", fingerprint="bb"),
    series("iot_receiver_dead_letters", "0x160", queue="rule"),
    series("iot_receiver_dead_letters", "0x160", queue="receiver"),
]
ALERTS = sorted({alert["alert"] for alert in alerts()})

CASES = [
    # Nothing is stored any more: reported within two minutes, though an hour of health lies behind.
    Case("outage", "IotReceiverBudgetBurnsFast",
         messages(stored="0+150x240 36000x40", unavailable="0x240 0+150x40"), "62m", True),
    Case("a blip of 15 seconds", "IotReceiverBudgetBurnsFast",
         messages(stored="0+150x240 36000 36150+150x40", unavailable="0x240 150x41"), "64m", False),
    Case("it is over", "IotReceiverBudgetBurnsFast",
         messages(stored="0+150x240 36000x20 36000+150x200", unavailable="0x240 0+150x20 3000x200"), "98m", False),
    Case("one in a hundred for six hours", "IotReceiverBudgetBurnsFast",
         messages(stored="0+990x99", unavailable="0+10x99"), "6h", True, step=LONG),
    Case("one in two hundred for a day", "IotReceiverBudgetBurnsSlow",
         messages(stored="0+995x400", unavailable="0+5x400"), "24h", True, step=LONG),
    Case("one in five hundred for three days", "IotReceiverBudgetBurnsSlow",
         messages(stored="0+998x1200", unavailable="0+2x1200"), "72h", True, step=LONG),
    Case("one in two thousand for three days", "IotReceiverBudgetBurnsSlow",
         messages(stored="0+1999x1200", unavailable="0+1x1200"), "72h", False, step=LONG),
    Case("no traffic at all", "IotReceiverBudgetBurnsFast", messages(), "1h", False),
    Case("one of a small fleet's", "IotReceiverBudgetBurnsFast",
         messages(stored="0+1x240", unavailable="0x20 1x220"), "7m", False),
    Case("all of a small fleet's", "IotReceiverBudgetBurnsFast",
         messages(stored="0+1x240 240x40", unavailable="0x240 0+1x40"), "62m", True),

    Case("all pods gone", "IotReceiverDown", up("1x8 stale", "1x8 stale"), "3m30s", True,
         "Prometheus reaches no pod of iot-receiver in namespace apps: what IoT Core sends goes to the dead letters."),
    Case("all pods fail", "IotReceiverDown", up("1x8 0x20", "1x8 0x20"), "3m30s", True),
    Case("one is left", "IotReceiverDown", up("1x40", "0x40"), "5m", False),
    Case("one of two fails", "IotReceiverMissing", up("1x40", "1x8 0x32"), "4m", True,
         "Prometheus reaches 1 of 2 pods."),
    Case("one of two is gone", "IotReceiverMissing", up("1x40", "1x8 stale"), "4m", True),
    Case("one misses a scrape", "IotReceiverMissing", up("1x40", "1x8 0 1x31"), "2m30s", False),
    Case("more than wanted", "IotReceiverMissing", up("1x40", "1x40", "1x40"), "5m", False),

    Case("half a second", "IotReceiverWritesSlow",
         buckets("iot_receiver_write_seconds", {"0.25": 10, "0.5": 20, "+Inf": 20}), "3m", True,
         "One write in a hundred takes 495ms or longer; a reading has 900 ms for all its tries."),
    Case("one in a thousand", "IotReceiverWritesSlow",
         buckets("iot_receiver_write_seconds", {"0.25": 999, "0.5": 1000, "+Inf": 1000}), "5m", False),

    Case("calls", "IotReceiverThrottled",
         [series("iot_receiver_throttled_writes_total", "0+5x40"),
          series("iot_receiver_write_seconds_count", "0+100x40")],
         "3m", True, "5% of what is written has to be written again."),
    Case("single items", "IotReceiverThrottled",
         [series("iot_receiver_unprocessed_items_total", "0+50x40"),
          series("iot_receiver_batch_items_sum", "0+1000x40")],
         "3m", True),
    Case("one call", "IotReceiverThrottled",
         [series("iot_receiver_throttled_writes_total", "0x8 1x32"),
          series("iot_receiver_write_seconds_count", "0+100x40")],
         "4m", False),

    Case("0.9 seconds", "IotReceiverQueueing",
         [*messages(unavailable="0+150x40"), series("iot_receiver_queue_items", "9x40")], "3m", True,
         "A reading waits 900ms in the mean to be stored (those waiting by those that come in a second);"
         " after 900 ms it is turned away."),
    Case("a large but quick queue", "IotReceiverQueueing",
         [*messages(stored="0+15000x40"), series("iot_receiver_queue_items", "100x40")], "5m", False),

    Case("a tenth", "IotReceiverRejecting", messages(stored="0+90x40", rejected="0+10x40"), "4m", True,
         "10% of the messages are rejected, or kept as dead letters."),
    Case("in batches", "IotReceiverRejecting", messages(stored="0+90x40", dead_lettered="0+10x40"), "4m", True),
    Case("a tenth, after ten minutes of health", "IotReceiverRejecting",
         messages(stored="0+300x80", rejected="0x40 0+33x40"), "12m", True),  # from 10m15s on
    Case("one in a hundred", "IotReceiverRejecting", messages(stored="0+99x40", rejected="0+1x40"), "8m", False),
    Case("one of a small fleet's", "IotReceiverRejecting",
         messages(stored="0+1x60", rejected="0x30 1x30"), "8m45s", False),

    Case("one device's, ahead", "IotDeviceClocksWrong",
         [series("iot_receiver_clock_skew_messages_total", "0+1x60", direction="ahead"),
          series("iot_receiver_clock_skew_messages_total", "0x60", direction="behind")], "4m", True,
         labels={"direction": "ahead"}),
    Case("a backlog's, behind", "IotDeviceClocksWrong",
         [series("iot_receiver_clock_skew_messages_total", "0+30x60", direction="behind")], "4m", True,
         labels={"direction": "behind"}),
    Case("a single reading's", "IotDeviceClocksWrong",
         [series("iot_receiver_clock_skew_messages_total", "0x10 1x50", direction="ahead")], "5m", False),

    Case("the rule's", "IotReceiverRefusing",
         [series("iot_receiver_requests_total", "0+10x20 200x20", status="200"),
          series("iot_receiver_requests_total", "0x20 0+10x20", status="403")], "7m", True),
    Case("a tenth, after ten minutes of health", "IotReceiverRefusing",
         [series("iot_receiver_requests_total", "0+300x80", status="200"),
          series("iot_receiver_requests_total", "0x40 0+33x40", status="403")], "12m", True),  # from 10m15s on
    Case("a small fleet's", "IotReceiverRefusing",
         [series("iot_receiver_requests_total", "0+1x40 40x20", status="200"),
          series("iot_receiver_requests_total", "0x40 0+1x20", status="403")], "12m15s", True),
    Case("a single one beside a small fleet's", "IotReceiverRefusing",
         [series("iot_receiver_requests_total", "0+1x80", status="200"),
          series("iot_receiver_requests_total", "0x40 1x40", status="403")], "11m", False),
    Case("a passer-by", "IotReceiverRefusing",
         [series("iot_receiver_requests_total", "0+100x40", status="200"),
          series("iot_receiver_requests_total", "0+1x40", status="403"),
          series("iot_receiver_requests_total", "0+20x40", status="401")], "8m", False),

    Case("after 22 minutes", "IotReceiverOldSecret",
         [series("iot_receiver_secret_uses_total", "0+1x120", secret="previous", fingerprint="abc"),
          series("iot_receiver_secret_info", "1x120", secret="previous", fingerprint="abc")], "22m", True,
         "Requests give the secret abc, which was replaced more than 20 minutes ago.", {"fingerprint": "abc"}),
    Case("every quarter of an hour", "IotReceiverOldSecret",
         [series("iot_receiver_secret_uses_total", "0x59 1x59 2x59 3x59", secret="previous", fingerprint="abc"),
          series("iot_receiver_secret_info", "1x240", secret="previous", fingerprint="abc")], "58m", True),
    Case("during a rotation", "IotReceiverOldSecret",
         [series("iot_receiver_secret_uses_total", "0+1x60 60x100", secret="previous", fingerprint="abc"),
          series("iot_receiver_secret_info", "1x160", secret="previous", fingerprint="abc")], "22m", False),
    Case("it was dropped", "IotReceiverOldSecret",
         [series("iot_receiver_secret_uses_total", "0+1x81 81x100", secret="previous", fingerprint="abc"),
          series("iot_receiver_secret_info", "1x64 stale", secret="previous", fingerprint="abc")], "21m", False),

    Case("on the rule's queue", "IotDeadLetters",
         [series("iot_receiver_dead_letters", "0x8 7x20", pod=pod, queue="rule") for pod in "ab"],
         "2m15s", True, "7 wait on the queue of the rule to be looked at and redriven; after 14 days they are gone.",
         {"queue": "rule"}),
    Case("for a day", "IotDeadLetters", [series("iot_receiver_dead_letters", "1x400", queue="receiver")],
         "24h", True, step=LONG),
    Case("redriven", "IotDeadLetters", [series("iot_receiver_dead_letters", "7x20 0x20", queue="rule")], "6m", False),

    Case("after traffic", "IotDevicesSilent", messages(stored="0+10x40 400x80"), "27m", True,
         "Nothing has come for 15 minutes, and readings had come in the day before: devices, IoT Core, the rule or the"
         " way to the load balancer is broken."),
    Case("for eight hours", "IotDevicesSilent", messages(stored="0+10x40 400x120"), "10h", True, step=LONG),
    Case("never any", "IotDevicesSilent", messages(), "1h", False),
    Case("bad messages only", "IotDevicesSilent",
         messages(stored="0+10x40 400x80", rejected="0x40 0+1x80"), "27m", False),
    Case("half of it, scraped seldom", "IotReceiverRejecting", messages(stored="0+60x20", rejected="0+60x20"), "10m",
         True, step=SELDOM),
    Case("the rule's, scraped seldom", "IotReceiverRefusing",
         [series("iot_receiver_requests_total", "0+60x20", status="403")], "10m", True, step=SELDOM),
    Case("0.9 seconds, scraped seldom", "IotReceiverQueueing",
         [*messages(unavailable="0+600x20"), series("iot_receiver_queue_items", "9x20")], "10m", True, step=SELDOM),
    Case("half a second, scraped seldom", "IotReceiverWritesSlow",
         buckets("iot_receiver_write_seconds", {"0.25": 10, "0.5": 20, "+Inf": 20}, 20), "10m", True, step=SELDOM),
    *(Case("healthy", alert, HEALTHY, at, False) for alert in ALERTS for at in ("2m", "38m")),
]


def promtool_test(case: Case) -> dict[str, Any]:
    """One test, as promtool reads it."""
    firing = f'count(ALERTS{{alertname="{case.alert}",alertstate="firing"}}) > bool 0 or vector(0)'
    test: dict[str, Any] = {
        "name": case.title, "interval": f"{case.step}s", "input_series": case.given,
        "promql_expr_test": [{"expr": firing, "eval_time": case.at,
                              "exp_samples": [{"labels": "{}", "value": int(case.fires)}]}],
    }
    if case.says:
        description = f"{case.says} What to do: {case.alert} in docs/alerts.md."
        [alert] = [alert for alert in alerts() if alert["alert"] == case.alert]
        test["alert_rule_test"] = [{
            "eval_time": case.at, "alertname": case.alert,
            "exp_alerts": [{"exp_labels": alert["labels"] | case.labels,
                            "exp_annotations": alert["annotations"] | {"description": description}}]}]
    return test


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the rules."""
    folder = tmp_path_factory.mktemp("rules")
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": rules()}))
    return folder


def test_prometheus_takes_the_rules(promtool: Promtool, written: Path) -> None:
    assert "SUCCESS" in promtool("check", "rules", "--lint=all", "--lint-fatal", written / "rules.yml")


def test_all_alerts_have_cases_of_both_kinds() -> None:
    assert {case.alert for case in CASES if case.fires} == set(ALERTS)
    assert {case.alert for case in CASES if not case.fires and case.name != "healthy"} == set(ALERTS)


def needed(alert: str, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The groups, with an alert and the rules that record what it reads, directly or through others."""
    every = [rule for group in groups for rule in group["rules"]]
    kept: list[dict[str, Any]] = []
    more = [rule for rule in every if rule.get("alert") == alert]
    while more:
        kept += more
        read = " ".join(rule["expr"] for rule in kept)
        more = [rule for rule in every if rule not in kept and rule.get("record", "ALERTS") in read]
    found = [group | {"rules": [rule for rule in group["rules"] if rule in kept]} for group in groups]
    return [group for group in found if group["rules"]]


@pytest.mark.parametrize("step", [STEP, SELDOM, LONG])
def test_alerts_fire_for_their_causes_alone(promtool: Promtool, written: Path, step: int) -> None:
    """All cases of a stride in one run of promtool, which names those that fail.

    An alert's cases are a file of their own, with this alert and what it reads: promtool evaluates every rule of a
    file at every step, and some look back three days.
    """
    groups = [group | {"interval": f"{step}s"} for group in rules(receiver_scrape_interval=min(step, SELDOM))]
    files = []
    for alert in sorted({case.alert for case in CASES if case.step == step}):
        evaluated = needed(alert, groups)
        (written / f"rules-{step}-{alert}.yml").write_text(yaml.safe_dump({"groups": evaluated}))
        files.append(written / f"test-{step}-{alert}.yml")
        files[-1].write_text(yaml.safe_dump({
            "rule_files": [f"rules-{step}-{alert}.yml"], "evaluation_interval": f"{step}s",
            "tests": [promtool_test(case) for case in CASES if (case.step, case.alert) == (step, alert)],
            "group_eval_order": [group["name"] for group in evaluated],  # promtool's own is another at each run
        }))
    assert promtool("test", "rules", *files).count("SUCCESS") == len(files)

