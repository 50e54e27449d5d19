"""What AWS bills for readings, and how fast a backlog drains."""

import json
import signal
import time
from collections.abc import Callable
from datetime import datetime

import pytest
from iot_device import billing
from iot_device.settings import Settings
from iot_device.spool import Spool

from tests.device.a_scripted_broker import ScriptedBroker
from tests.device.harness import ask, degrees, flags, start
from tests.support.waiting import until

MakeSettings = Callable[..., Settings]
BACKLOG = 50_000


def rows(table: str) -> dict[str, list[int]]:
    """The units of each way: message, rule, action, in all."""
    found = {}
    for line in table.splitlines()[1:5]:
        *words, message, rule, action, total = line.split()
        found[" ".join(words)] = [int(message), int(rule), int(action), int(total)]
    return found


def test_units_are_steps_of_five_kibibytes() -> None:
    payloads = ["x" * 123] * 1000
    found = rows(billing.table(payloads, 5000, "sensor-1"))
    assert found["one by one"] == [1000, 1000, 1000, 3000]
    assert found["one by one, Basic Ingest"] == [0, 1000, 1000, 2000]
    packs = 25  # 40 readings of 124 bytes each
    assert found["packed"] == [packs, packs, 2 * packs, 4 * packs], "an action has the payload in base64"
    assert found["packed, Basic Ingest"] == [0, packs, 2 * packs, 3 * packs]
    assert rows(billing.table(["x" * 6000], 5000, "a"))["packed"] == [2000, 2000, 2000, 6000]


def test_packs_are_as_large_as_the_limit_allows() -> None:
    assert billing.packed(["x" * 98] * 5, 200) == [199, 199, 100]
    assert billing.packed(["x" * 98] * 3, 0) == [100, 100, 100]


def test_simulate_prints_the_billable_units(scripted: ScriptedBroker, scripted_settings: MakeSettings) -> None:
    settings = scripted_settings(pack_bytes=5000)
    status, out = ask("simulate", *flags(settings), "--count", "200", "--rate", "2000")
    assert status == 0, out
    found = rows(out[out.index("billable units") :])
    assert found["one by one"] == [1000, 1000, 1000, 3000]
    assert found["packed"][0] <= 30
    assert found["packed, Basic Ingest"][0] == 0
    assert scripted.largest <= 5000
    assert f"publishes     {scripted.publishes:>8}" in out


@pytest.mark.long
def test_a_large_backlog_drains_below_the_limit_of_publishes(
    scripted: ScriptedBroker, scripted_settings: MakeSettings
) -> None:
    settings = scripted_settings(interval=0.2, pack_bytes=5000)
    settings.state_dir.mkdir()
    spool = Spool(settings.state_dir / "spool.db")
    spool.take("sensor-1", [degrees("sensor-1", 200 + number / 100) for number in range(BACKLOG)])
    spool.close()
    process = start("run", *flags(settings))
    began = time.monotonic()
    until(lambda: len(scripted.arrived) >= BACKLOG, 120, every=0.1)
    seconds = time.monotonic() - began
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    clock, first = time.time() - time.monotonic(), scripted.arrived[0].at
    fresh = [(one.at, datetime.fromisoformat(one.message["ts"]).timestamp() - clock)
             for one in scripted.arrived if one.message["temp"] < 200]  # fmt: skip
    late = max(at - taken for at, taken in fresh if taken > first)  # earlier ones are part of the backlog
    print(f"{BACKLOG} readings in {seconds:.1f} s, {scripted.publishes} publishes; fresh: {late:.2f} s late at most")
    backlog = [one.message["temp"] for one in scripted.arrived if one.message["temp"] >= 200]
    assert backlog == sorted(backlog)
    assert len(scripted.ids) == len(scripted.arrived), "each once"
    assert scripted.largest <= 5000
    assert scripted.publishes < 60 * 97, "so many go in 60 s at the limit of one connection"
    left = Spool(settings.state_dir / "spool.db")
    assert left.waiting == 0
    left.close()


@pytest.mark.parametrize("topic", ["things/telemetry", "$aws/rules/forward_to_alb/things/telemetry"])
def test_a_device_publishes_to_its_topic(topic: str, scripted: ScriptedBroker, scripted_settings: MakeSettings) -> None:
    status, out = ask("publish", *flags(scripted_settings(topic=topic)), "--temperature", "4")
    assert status == 0, out
    assert scripted.topics == [topic]
    assert json.loads(out)["temp"] == 4
