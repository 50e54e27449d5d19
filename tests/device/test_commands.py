"""Sensors, certificates, the clock, and what status and doctor report of them."""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from unittest.mock import Mock

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from iot_device import certificate, clock, doctor, sensors
from iot_device.ledger import Ledger
from iot_device.measurements import TEMPERATURE, Measurements
from iot_device.publish import publish
from iot_device.run import Device
from iot_device.settings import Settings, SettingsError, load
from iot_device.spool import Spool, state_folder
from iot_device.state import Lock

from tests.device.a_scripted_broker import Cut, ScriptedBroker
from tests.device.harness import ask, degrees, flags, running, start
from tests.support.waiting import until

MakeSettings = Callable[..., Settings]
TEMP = Measurements(TEMPERATURE)


def test_a_thermal_zone_is_read(scripted_settings: MakeSettings, tmp_path: Path) -> None:
    zone = tmp_path / "temp"
    zone.write_text("48125\n")
    sensor = sensors.make(scripted_settings(sensor="cpu", sensor_path=zone))
    assert sensor() == {"temp": 48.125}
    zone.write_text("nonsense")
    with pytest.raises(OSError, match="whole number"):
        sensor()
    zone.unlink()
    with pytest.raises(OSError, match="temp"):
        sensor()


@pytest.mark.parametrize(
    ("line", "value"),
    [("echo 21.5", 21.5), ("echo ' -3 '", -3.0), ("echo 2 | tr 2 4; exit 0", 4.0), ("printf 1e1", 10.0)],
)
def test_a_commands_output_is_a_reading(line: str, value: float) -> None:
    assert sensors.command(line, 5, TEMP)() == {"temp": value}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("echo warm", "warm"),
        ("echo 21; echo 22", "21"),
        ("echo nan", "nan"),
        ("echo inf", "inf"),
        ("echo broken >&2; exit 3", "broken"),
        ("echo 5; exit 1", "status 1"),
        ("true", "no number"),
        ("echo 1e99999999999999999999", "beyond every number"),
        (r"""printf '{"state": "\377"}'""", "no UTF-8"),
        (r"printf '\377'; exit 4", "status 4"),
        ("echo 21\0", "NUL"),
    ],
)
def test_a_command_that_gives_no_number_is_reported(line: str, reason: str) -> None:
    with pytest.raises(OSError, match=reason):
        sensors.command(line, 5, TEMP)()


def test_a_command_that_hangs_costs_its_time_and_no_more() -> None:
    began = time.monotonic()
    with pytest.raises(OSError, match="within"):
        sensors.command("sleep 30", 0.3, TEMP)()
    assert time.monotonic() - began < 3


def running_in(session: str) -> list[str]:
    """The processes whose environment has this mark."""
    found = subprocess.run(["pgrep", "-f", session], capture_output=True, text=True, check=False).stdout.split()
    return [process for process in found if process != str(os.getpid())]


@pytest.mark.parametrize("line", ["sleep {0} | cat; true", "sleep {0} & sleep {0} & wait", "(sleep {0} & sleep {0})",
                                  "setsid sleep {0}", "setsid sh -c 'sleep {0} & sleep {0}'; true"])  # fmt: skip
def test_everything_that_a_hanging_command_started_is_killed(line: str) -> None:
    mark = f"1{time.monotonic_ns() % 10**7}.25"  # a time that no other test sleeps
    with pytest.raises(OSError, match="within"):
        sensors.command(line.format(mark), 0.3, TEMP)()
    until(lambda: not running_in(mark))


@pytest.mark.parametrize(
    "line",
    ["sleep {0} &", "setsid sleep {0} &", "setsid sh -c 'setsid sleep {0} & exec sleep {0}' & ", "(setsid sleep {0} &)",
     "setsid true &", "for _ in 1 2 3 4 5 6 7 8 9; do setsid sh -c 'sleep {0} & sleep {0} & sleep {0}' & done"],
)  # fmt: skip
def test_a_command_that_leaves_something_running_gives_its_reading_at_once(line: str) -> None:
    mark = f"1{time.monotonic_ns() % 10**7}.5"
    assert sensors.command(f"{line.format(mark)}\necho 21", 20, TEMP)() == {"temp": 21}
    until(lambda: not running_in(mark))
    assert not sensors._adopted(), "not even as zombies"


@pytest.mark.parametrize("error", [None, PermissionError], ids=["cannot end", "is somebody else's"])
def test_what_cannot_be_killed_holds_up_no_reading_and_is_reaped_later(
    error: type[Exception] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill = os.kill
    monkeypatch.setattr(os, "kill", Mock(side_effect=error))
    line = "echo $(setsid sh -c 'echo 21; exec sleep 60 >/dev/null' &)"
    assert sensors.command(line, 20, TEMP)() == {"temp": 21}
    [left] = sensors._adopted()
    kill(left, signal.SIGKILL)
    later = sensors.command("echo 21", 20, TEMP)
    until(lambda: later() and not sensors._adopted())


def test_other_children_of_the_process_are_left_alone() -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as other:
        assert sensors.command("setsid sleep 60 & echo 21", 20, TEMP)() == {"temp": 21}
        assert other.poll() is None
        other.kill()


def test_an_interrupt_ends_publish_and_its_sensors_command(scripted_settings: MakeSettings, tmp_path: Path) -> None:
    mark = f"1{time.monotonic_ns() % 10**7}.75"
    given = scripted_settings(sensor="command", sensor_command=f"touch {tmp_path / 'begun'}; sleep {mark}")
    process = start("publish", *flags(given))
    until((tmp_path / "begun").exists)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == -signal.SIGINT
    until(lambda: not running_in(mark))


@pytest.mark.parametrize("line", ["yes", "yes >&2", "yes | head -c 10000000"])
def test_the_output_of_a_command_is_bounded(line: str) -> None:
    with pytest.raises(OSError, match="more than 65536 bytes"):
        sensors.command(line, 20, TEMP)()


def test_a_command_is_killed_when_the_device_stops() -> None:
    with pytest.raises(OSError, match="was stopped"):
        sensors.command("sleep 30", 20, TEMP, lambda: True)()


def test_a_command_must_be_named(scripted_settings: MakeSettings) -> None:
    with pytest.raises(SettingsError, match="sensor_command"):
        sensors.make(scripted_settings(sensor="command"))


def test_a_certificates_time_is_what_openssl_says(identities: Path) -> None:
    begins, ends = certificate.validity(identities / "sensor-1.crt")
    printed = subprocess.run(
        ["openssl", "x509", "-noout", "-startdate", "-enddate", "-in", str(identities / "sensor-1.crt")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    dates = [line.partition("=")[2] for line in printed.splitlines()]
    assert [f"{one:%b} {one.day:2} {one:%H:%M:%S %Y} GMT" for one in (begins, ends)] == dates
    root_begins, root_ends = certificate.validity(Path(certificate.__file__).with_name("AmazonRootCA1.pem"))
    assert (root_begins.year, root_ends.year) == (2015, 2038)


def test_a_file_without_a_certificate_is_named(tmp_path: Path) -> None:
    for content in ("", "nonsense", "-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n"):
        (tmp_path / "c.pem").write_text(content)
        with pytest.raises(ValueError, match=r"c\.pem"):
            certificate.validity(tmp_path / "c.pem")
        assert certificate.expiry(tmp_path / "c.pem") is None
    assert certificate.expiry(tmp_path / "none.pem") is None


class TimeServer:
    """A web server over TLS whose clock differs."""

    def __init__(self, identities: Path, offset: float) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response_only(403)
                self.send_header("Date", formatdate(time.time() + offset, usegmt=True))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identities / "broker.crt", identities / "broker.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://localhost:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> "TimeServer":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.mark.parametrize("offset", [0.0, 90.0, -7200.0])
def test_the_clock_is_compared_with_a_web_servers(
    offset: float, identities: Path, scripted_settings: MakeSettings
) -> None:
    with TimeServer(identities, offset) as server:
        found = clock.measure(scripted_settings(time_url=server.url))
        assert found.skew == pytest.approx(-offset, abs=2)
        _, out = ask("status", *flags(scripted_settings(time_url=server.url)))
    if offset:
        assert "FAULT  clock" in out
        assert (" behind, by " if offset > 0 else " ahead, by ") in out
        assert "timedatectl" in out
    else:
        assert "ok     clock" in out


def test_a_clock_that_cannot_be_compared_is_no_fault(scripted_settings: MakeSettings, identities: Path) -> None:
    with TimeServer(identities, 0) as server:
        settings = scripted_settings(time_url=server.url, ca=identities / "stranger.crt")
        found = clock.measure(settings)
    assert found.skew is None
    assert "certificate" in found.why.lower()
    assert clock.measure(replace(settings, time_url="http://localhost/")).why.startswith("time_url must begin")


def verdicts(out: str) -> dict[str, str]:
    return {finding["name"]: finding["verdict"] for finding in json.loads(out)["findings"]}


@pytest.fixture(name="device")
def _device(scripted: ScriptedBroker, scripted_settings: MakeSettings) -> Iterator[Device]:
    """A running device that reports its state often."""
    device, stop = Device(scripted_settings(), Ledger()), threading.Event()
    device.engine._every = 0.1
    thread = threading.Thread(target=device.run, args=(stop,))
    thread.start()
    assert until(lambda: device.delivery.ledger.acknowledged > 3)
    yield device
    stop.set()
    thread.join(20)


def test_status_and_doctor_of_a_device_that_runs(device: Device) -> None:
    status, out = ask("status", *flags(device.settings), "--json")
    said = verdicts(out)
    assert status == 0
    assert (said["publisher"], said["connection"], said["backlog"]) == ("ok", "ok", "ok")
    status, out = ask("doctor", *flags(device.settings), "--json")
    said = verdicts(out)
    assert status == 0, out
    assert set(said) >= {"key", "certificate", "clock", "sensor", "disk", "name", "network", "broker", "connection"}
    assert "fault" not in said.values()
    assert device.connection.connected, "doctor did not take its session over"
    metrics = (device.settings.state_dir / "metrics.prom").read_text()
    assert "iot_device_connected 1" in metrics
    assert 'iot_device_readings_dropped_total{reason="count"} 0' in metrics
    assert "iot_device_totals_estimated 0" in metrics


def test_publish_hands_its_reading_to_the_publisher_that_runs(device: Device, scripted: ScriptedBroker) -> None:
    status, out = ask("publish", *flags(device.settings), "--temperature", "77.5")
    assert status == 0, out
    assert json.loads(out)["temp"] == 77.5
    assert [one.message for one in scripted.arrived if one.message["temp"] == 77.5] == [json.loads(out)]
    assert len(scripted.connects) == 1, "nobody else connected under its name"


def test_a_second_publisher_is_refused(device: Device) -> None:
    status, out = ask("run", *flags(device.settings))
    assert status == 2
    assert "another iot-device uses" in out
    assert "state_dir" in out


def test_status_reports_that_no_publisher_runs(scripted_settings: MakeSettings) -> None:
    status, out = ask("status", *flags(scripted_settings()))
    assert status == 1
    assert "FAULT  publisher" in out
    assert "iot-device run" in out


def expire(path: Path, authority_key: Path) -> None:
    """Replace a certificate by one that ended an hour ago."""
    old = x509.load_pem_x509_certificate(path.read_bytes())
    ended = datetime.now(UTC) - timedelta(hours=1)
    key = load_pem_private_key(authority_key.read_bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    builder = x509.CertificateBuilder(old.issuer, old.subject, old.public_key(), 7, ended - timedelta(days=1), ended)
    path.write_bytes(builder.sign(key, SHA256()).public_bytes(Encoding.PEM))


@pytest.mark.parametrize(
    "fault", ["key mode", "foreign key", "encrypted key", "byte order mark", "expired", "unknown host", "closed port",
              "silent port", "sensor", "none"]
)
def test_doctor_names_each_fault_with_its_fix(
    fault: str, scripted: ScriptedBroker, scripted_settings: MakeSettings, identities: Path, tmp_path: Path
) -> None:
    for name in ("sensor-1.crt", "sensor-1.key", "stranger.key", "ca.crt", "ca.key"):
        shutil.copy(identities / name, tmp_path / name)
    given: dict[str, object] = {"certificate": tmp_path / "sensor-1.crt", "key": tmp_path / "sensor-1.key"}
    (tmp_path / "sensor-1.key").chmod(0o600)
    expected = {"key mode": ("key", "chmod 600"), "foreign key": ("key", "together"),
                "expired": ("certificate", "--tags device"),
                "encrypted key": ("key", "openssl pkey"), "byte order mark": ("key", "sed -i"),
                "unknown host": ("name", "endpoint"), "closed port": ("network", "firewall"),
                "silent port": ("broker", "firewall"),
                "sensor": ("sensor", "sensor_path"), "none": ("", "")}[fault]  # fmt: skip
    silent = socket.create_server(("127.0.0.1", 0))
    if fault == "key mode":
        (tmp_path / "sensor-1.key").chmod(0o644)
    elif fault == "foreign key":
        given["key"] = tmp_path / "stranger.key"
        (tmp_path / "stranger.key").chmod(0o600)
    elif fault == "encrypted key":
        subprocess.run(["openssl", "pkey", "-in", identities / "sensor-1.key", "-aes256", "-passout", "pass:secret",
                        "-out", tmp_path / "sensor-1.key"], check=True)  # fmt: skip
    elif fault == "byte order mark":
        (tmp_path / "sensor-1.key").write_bytes(b"\xef\xbb\xbf" + (identities / "sensor-1.key").read_bytes())
    elif fault == "expired":
        expire(tmp_path / "sensor-1.crt", tmp_path / "ca.key")
    elif fault == "unknown host":
        given["endpoint"] = "no-such-host.invalid"
    elif fault == "closed port":
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            given["port"] = probe.getsockname()[1]
    elif fault == "silent port":
        given["port"] = silent.getsockname()[1]
    elif fault == "sensor":
        given |= {"sensor": "cpu", "sensor_path": tmp_path / "none"}
    with silent:
        status, out = ask("doctor", *flags(scripted_settings(**given)), "--json")
    faults = [finding for finding in json.loads(out)["findings"] if finding["verdict"] == "fault"]
    if fault == "none":
        assert (status, faults) == (0, [])
        return
    assert status == 1
    assert faults[0]["name"] == expected[0], faults
    assert expected[1] in faults[0]["fix"]


@pytest.mark.parametrize(("setting", "name", "fix"), [("ca", "ca", "restore"), ("state_dir", "disk", "a folder")])
def test_doctor_tells_a_file_that_is_something_else(
    setting: str, name: str, fix: str, scripted_settings: MakeSettings, identities: Path
) -> None:
    _, out = ask("doctor", *flags(scripted_settings(**{setting: identities / "sensor-1.key"})), "--json")
    [found] = [finding for finding in json.loads(out)["findings"] if finding["name"] == name]
    assert found["verdict"] == "fault"
    assert fix in found["fix"]
    assert "device_reissue" not in out, "the device's own certificate is not blamed"


def test_doctor_reports_invalid_settings() -> None:
    status, out = ask("doctor", "--thing", "x")
    assert status == 1
    assert "FAULT  settings" in out
    assert "--endpoint" in out


def test_systemd_is_notified_of_start_life_and_end(
    scripted: ScriptedBroker, scripted_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "300000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        device, stop = Device(scripted_settings(), Ledger()), threading.Event()
        thread = threading.Thread(target=device.run, args=(stop,))
        thread.start()
        heard = [systemd.recv(1000).decode() for _ in range(4)]
        stop.set()
        while heard[-1] != "STOPPING=1":
            heard.append(systemd.recv(1000).decode())
        thread.join(20)
    assert "READY=1" in heard
    assert sum(one.startswith("WATCHDOG=1\nSTATUS=") for one in heard) >= 2


def test_the_watchdog_fires_when_the_sensor_hangs(
    scripted: ScriptedBroker, scripted_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "300000")
        device = Device(scripted_settings(), Ledger())
        device._keep_house()
        assert systemd.recv(1000).startswith(b"WATCHDOG=1")
        device._due -= 1000
        device._keep_house()
        with pytest.raises(BlockingIOError):
            systemd.recv(1000)
        device.spool.close()
        device._lock.release()


def test_a_lock_ends_with_its_holder(tmp_path: Path) -> None:
    lock = Lock(tmp_path)
    lock.release()
    Lock(tmp_path).release()


@pytest.mark.parametrize("packed", [True, False])
def test_simulate_publishes_as_the_things_of_kits(
    packed: bool, scripted: ScriptedBroker, identities: Path, tmp_path: Path
) -> None:
    kits = tmp_path / "kits"
    for number in (1, 2):
        folder = kits / f"thing-{number}"
        folder.mkdir(parents=True)
        for name in ("sensor-1.crt", "sensor-1.key", "ca.crt"):
            shutil.copy(identities / name, folder / name)
        (folder / "iot-device.toml").write_text(
            f'endpoint = "localhost"\nport = {scripted.port}\nthing = "thing-{number}"\n'
            'certificate = "sensor-1.crt"\nkey = "sensor-1.key"\nca = "ca.crt"\n'
        )
        if packed:
            with zipfile.ZipFile(kits / f"thing-{number}.zip", "w") as archive:
                for path in folder.iterdir():
                    archive.write(path, path.name)
            shutil.rmtree(folder)
    status, out = ask("simulate", "--kits", str(kits), "--devices", "2", "--count", "20", "--rate", "100")
    assert status == 0, out
    assert sorted(str(one.message["deviceId"]) for one in scripted.arrived) == ["thing-1"] * 10 + ["thing-2"] * 10
    assert len(scripted.connects) == 2
    assert "connections          2" in out
    status, out = ask("simulate", "--kits", str(kits), "--devices", "3", "--count", "1")
    assert status == 2
    assert "2 kits, 3 are needed" in out


def test_simulate_drives_more_than_one_connection_may(
    scripted: ScriptedBroker, scripted_settings: MakeSettings
) -> None:
    status, out = ask("simulate", *flags(scripted_settings()), "--rate", "1000", "--count", "2000", "--unlimited",
                      "--devices", "20")  # fmt: skip
    assert status == 0, out
    messages = [str(one.message["messageId"]) for one in scripted.arrived]
    assert len(messages) == len(set(messages)) == 2000
    assert {one.message["deviceId"] for one in scripted.arrived} == {f"sensor-1-{n}" for n in range(1, 21)}


@pytest.mark.parametrize(
    ("rate", "limit", "warned"), [("95", 100, False), ("99", 100, True), ("99", 0, False), ("99", 200, False)]
)
def test_simulate_warns_of_a_rate_that_its_connections_do_not_carry(
    rate: str, limit: int, warned: bool, scripted_settings: MakeSettings
) -> None:
    given = flags(scripted_settings(rate_limit=limit))
    status, out = ask("simulate", *given, "--rate", rate, "--count", "5")
    assert status == 0, out
    assert ("1 connection can publish 96" in out) == warned, out


def test_simulate_continues_the_spool_of_an_interrupted_run(
    scripted: ScriptedBroker, scripted_settings: MakeSettings, tmp_path: Path
) -> None:
    scripted.on_publish = lambda message: None  # accepts everything and answers nothing
    ledger, given = tmp_path / "ledger", flags(scripted_settings())
    keep = ["--spool", str(tmp_path / "spool.db"), "--ledger", str(ledger)]
    process = subprocess.Popen(
        [sys.executable, "-m", "iot_device", "simulate", *given, "--count", "50", "--rate", "500", *keep],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "device")},
    )
    scripted.wait(50)
    process.kill()
    process.wait()
    first = scripted.ids
    scripted.on_publish = lambda message: 0
    scripted.arrived.clear()
    status, out = ask("simulate", *given, "--count", "10", "--rate", "500", *keep)
    assert status == 0, out
    assert "from before         50" in out
    noted = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert len(noted) == 60
    assert first <= {line["messageId"] for line in noted if "acknowledged_at" in line}


def test_publish_says_that_its_reading_was_dropped(
    scripted: ScriptedBroker, scripted_settings: MakeSettings
) -> None:
    scripted.on_publish = lambda message: None  # accepts everything and answers nothing
    settings = scripted_settings(spool_max_readings=1)
    device, stop = Device(settings, Ledger()), threading.Event()
    thread = threading.Thread(target=device.run, args=(stop,))
    thread.start()
    status, out = ask("publish", *flags(settings), "--temperature", "4")
    stop.set()
    thread.join(20)
    assert status == 1
    assert "dropped, since too many readings wait: raise spool_max_readings" in out


def test_publish_says_so_although_others_were_acknowledged_meanwhile(
    scripted: ScriptedBroker, scripted_settings: MakeSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = scripted_settings(interval=600)
    lock = Lock(state_folder(settings))
    spool = Spool(settings.state_dir / "spool.db", limit=2)
    spool.take("sensor-1", [degrees("sensor-1", 1.0)])

    def drop() -> None:
        until(lambda: spool.refresh() or spool.waiting == 2)
        spool.acknowledge([1])
        spool.take("sensor-1", [degrees("sensor-1", float(number)) for number in range(4)])

    meanwhile = threading.Thread(target=drop)
    meanwhile.start()
    assert publish(settings, 4.0, None) == 1
    meanwhile.join()
    assert "dropped, since too many readings wait" in capsys.readouterr().err
    assert spool.counters()["acknowledged"] == 1
    spool.close()
    lock.release()


def test_simulate_keeps_off_the_identity_and_the_spool_of_a_publisher(device: Device, tmp_path: Path) -> None:
    status, out = ask("simulate", *flags(device.settings), "--count", "1")
    assert status == 2, out
    assert f"another iot-device uses {device.settings.state_dir}" in out
    settings = replace(device.settings, state_dir=tmp_path / "other")
    status, out = ask("simulate", *flags(settings), "--spool", str(device.settings.state_dir / "spool.db"))
    assert status == 2, out
    assert f"another iot-device uses {device.settings.state_dir}" in out


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files to another user")
def test_files_that_root_makes_belong_to_the_folders_owner(scripted_settings: MakeSettings) -> None:
    settings = scripted_settings()
    settings.state_dir.mkdir()
    os.chown(settings.state_dir, 4321, 4321)
    spool = Spool(settings.state_dir / "spool.db")
    spool.take("sensor-1", [degrees("sensor-1", 1.0)])
    assert {one.stat().st_uid for one in settings.state_dir.iterdir()} == {4321}
    spool.close()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files to another user")
def test_doctor_finds_files_that_root_left_in_the_folder_of_the_spool(
    scripted: ScriptedBroker, scripted_settings: MakeSettings
) -> None:
    settings = scripted_settings()
    settings.state_dir.mkdir()
    os.chown(settings.state_dir, 4321, 4321)
    assert doctor.owners(settings) == []
    (settings.state_dir / "spool.db-wal").touch()
    [found] = doctor.owners(settings)
    assert (found.verdict, found.fix) == ("fault", f"chown -R 4321:4321 {settings.state_dir}")
    assert "spool.db-wal" in found.text
    status, out = ask("publish", *flags(settings), "--temperature", "4")
    assert status == 0, out
    assert (settings.state_dir / "lock").stat().st_uid == 4321, "the service can lock it later"


def test_status_reports_a_second_host_of_the_same_name(
    scripted: ScriptedBroker, scripted_settings: MakeSettings
) -> None:
    taken_over = iter([Cut(0x8E)])
    scripted.on_publish = lambda message: next(taken_over, 0)
    with running(scripted_settings(), every=0.1) as device:
        until(lambda: device.delivery.ledger.acknowledged > 3)
        until(lambda: "another client connected as sensor-1" in ask("status", *flags(device.settings))[1])


def test_a_settings_file_may_begin_with_a_byte_order_mark(scripted_settings: MakeSettings, tmp_path: Path) -> None:
    valid = scripted_settings()
    names = ("endpoint", "thing", "certificate", "key")
    lines = [f"{name} = {json.dumps(str(getattr(valid, name)))}" for name in names]
    (tmp_path / "a.toml").write_text("\n".join(lines), "utf-8-sig")
    assert load(tmp_path / "a.toml", {}).thing == "sensor-1"
