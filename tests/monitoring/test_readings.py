"""The readings' dashboard is complete, and their alert fires for quiet devices alone, by Prometheus' own test tool."""

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml

from tests.monitoring.conftest import Promtool
from tests.monitoring.objects import assert_side_by_side
from tests.support.paths import ROOT
from tests.templates.test_readings import dashboard, readings

SCHEMA = json.loads(Path(__file__).with_name("dashboard.schema.json").read_text())
FILE = ROOT / "roles/readings/files/dashboards/readings.json"
# Devices by state, over 20 minutes of a value in 15 seconds, and whether the alert fires at the end.
CASES: dict[str, tuple[dict[str, str], bool]] = {
    "quiet beside live ones": ({"live": "9x80", "quiet": "1x80", "unknown": "0x80"}, True),
    "all live": ({"live": "10x80", "quiet": "0x80", "unknown": "0x80"}, False),
    "all silent, which another alert reports": ({"live": "0x80", "quiet": "10x80", "unknown": "0x80"}, False),
    "a new pod is still looking at them": ({"live": "5x80", "quiet": "1x80", "unknown": "4x80"}, False),
    "quiet for less than five minutes": ({"live": "9x80", "quiet": "0x70 1x10", "unknown": "0x80"}, False),
}


def test_dashboard_is_one_and_its_panels_lie_side_by_side() -> None:
    found = dashboard(measurements={"temp": {"attribute": "temperature"}, "hum": {"attribute": "humidity"}})
    jsonschema.validate(found, SCHEMA)
    assert_side_by_side(found["panels"])


def test_the_dashboards_file_is_what_the_defaults_make() -> None:
    """So it can be imported by hand, too."""
    assert dashboard() == json.loads(FILE.read_text())


def test_dashboard_and_alert_ask_for_metrics_that_there_are() -> None:
    source = (ROOT / "service/iot_readings/metrics.py").read_text()
    source += (ROOT / "service/iot_readings/remote_read.py").read_text()
    asked = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    for expression in [*asked, readings("prometheus_rule")["spec"]["groups"][0]["rules"][0]["expr"]]:
        name = next(word for word in expression.replace("(", " ").replace("{", " ").split() if word.startswith("iot_"))
        known = name.removeprefix("iot_readings_").removesuffix("_total").replace("reading_temperature", "reading_")
        assert f'"{known}"' in source, name


def promtool_test(name: str, states: dict[str, str], fires: bool) -> dict[str, Any]:
    """One case, as promtool reads it."""
    labels = 'namespace="apps",job="iot-readings"'
    given = [{"series": f'iot_fleet_devices{{{labels},state="{state}"}}', "values": values}
             for state, values in states.items()]
    # Eleven would be one too many: the service names ten.
    given += [{"series": f'iot_fleet_quiet_seconds{{{labels},device="d{number}"}}', "values": f"{number * 3600}x80"}
              for number in range(1, 11)]
    worst = " ".join(f"d{number} ({number}h 0m 0s)" for number in range(10, 0, -1))
    [alert] = readings("prometheus_rule")["spec"]["groups"][0]["rules"]
    expected = {"exp_labels": {"severity": "warning", "namespace": "apps", "job": "iot-readings", "state": "quiet"},
                "exp_annotations": {
                    "summary": "1 devices are silent for longer than usual", "description": f"The worst: {worst}",
                    "runbook_url": alert["annotations"]["runbook_url"]}}
    return {"name": name, "interval": "15s", "input_series": given,
            "alert_rule_test": [{"eval_time": "19m", "alertname": "IotDevicesQuiet", "exp_alerts": [expected] * fires}]}


def test_the_alert_fires_for_quiet_devices_alone_and_names_the_ten_worst(promtool: Promtool, tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": readings("prometheus_rule")["spec"]["groups"]}))
    tests = [promtool_test(name, *case) for name, case in CASES.items()]
    (tmp_path / "test.yml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": "15s", "tests": tests}))
    assert "SUCCESS" in promtool("test", "rules", tmp_path / "test.yml")


@pytest.mark.parametrize("quiet", [0, 1])
def test_examples_of_alerts_on_readings_are_rules(promtool: Promtool, tmp_path: Path, quiet: int) -> None:
    """Those that docs/alerts.md shows: one for a value, one for silence."""
    text = (ROOT / "docs/alerts.md").read_text()
    examples = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])["readings_alert_rules"]
    groups = readings("prometheus_rule", readings_alert_rules=examples)["spec"]["groups"]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": groups}))
    values = "-20x40 _x40" if quiet else "-20x40 -5x40"
    given = [{"series": 'iot_reading_temperature{deviceId="freezer-1"}', "values": values}]
    fires = ["FreezerSilent"] if quiet else ["FreezerWarm"]
    tests = [{"interval": "1m", "input_series": given, "promql_expr_test": [
        {"expr": f'count(ALERTS{{alertname="{each["alert"]}",alertstate="firing"}}) or vector(0)', "eval_time": "80m",
         "exp_samples": [{"labels": "{}", "value": int(each["alert"] in fires)}]} for each in examples]}]
    (tmp_path / "test.yml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}))
    assert "SUCCESS" in promtool("test", "rules", tmp_path / "test.yml")
