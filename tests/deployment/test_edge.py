"""Edge hosts under systemd, reached by SSH, lose their power; each of their readings is one row."""

import json
import subprocess
import time

import pytest

from tests.deployment.edge import HOSTS, PROGRAM, Aws, arrived, cut_power, now, on, taken
from tests.support.paths import ROOT, STATE

CUTS = 3


@pytest.mark.parametrize("host", HOSTS)
def test_its_service_runs_hardened_under_systemd(host: str) -> None:
    assert on(host, "cat", "/proc/1/comm").strip() == "systemd"
    assert on(host, "systemctl", "is-active", "iot-device").strip() == "active"
    on(host, "systemd-analyze", "security", "--threshold=30", "--no-pager", "iot-device")
    found = json.loads(on(host, PROGRAM, "status", "--json"))
    assert found["faults"] == 0, found


@pytest.mark.parametrize("host", HOSTS)
def test_its_key_is_nowhere_else(host: str) -> None:
    key = on(host, "cat", "/etc/iot-device/private.pem.key").splitlines()[1]
    own = STATE / "edge" / host
    for folder in (ROOT / "build", STATE):
        found = subprocess.run(["grep", "--recursive", "--text", "--files-with-matches", "--fixed-strings", "--file=-",
                                "--exclude-dir=root", "--devices=skip", str(folder)],
                               input=key, capture_output=True, text=True, check=False).stdout
        assert not [path for path in found.splitlines() if not path.startswith(str(own))]


def test_a_host_whose_power_is_cut_loses_and_doubles_nothing(aws: Aws) -> None:
    on("edge-1", "systemctl", "stop", "iot-device")
    before, since = taken("edge-1"), now()
    on("edge-1", "systemctl", "start", "iot-device")
    for _ in range(CUTS):
        time.sleep(2.5)
        cut_power("edge-1")
    time.sleep(2)
    on("edge-1", "systemctl", "stop", "iot-device")
    total, end = taken("edge-1") - before, now()
    on("edge-1", "systemctl", "start", "iot-device")
    found = arrived(aws, "edge-1", (since, end), total)
    assert total > CUTS
    assert len(found) == len(set(found)) == total
