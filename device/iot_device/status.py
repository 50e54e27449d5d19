"""The command status: what the publisher does and what waits, read from its files alone."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from iot_device import certificate, clock, damage
from iot_device.findings import Finding, counted, show, span
from iot_device.settings import AS_OWNER, Settings
from iot_device.spool import ESTIMATED
from iot_device.state import STALE_S, State, is_running

SKEW_FAULT_S = 60.0
SKEW_NOTE_S = 5.0
TAKEN_OVER_S = 3600.0  # how long a connection that was taken over is reported
EXPIRY_NOTE_S = 30 * 86_400
DISK_NOTE = 0.05
START = "start it: systemctl start iot-device, or iot-device run; a kit's by ./start.sh"


def status(settings: Settings, as_json: bool) -> int:
    """Print the state; returns 0 if the publisher runs and nothing is wrong."""
    findings = [publisher(settings), connection(settings), *backlog(settings), validity(settings), time_of(settings)]
    return show(f"{settings.thing} at {settings.endpoint}:{settings.port}", findings, as_json)


def publisher(settings: Settings) -> Finding:
    """Check that a publisher runs."""
    folder = settings.state_dir
    try:
        running, state = is_running(folder), State.read(folder)
        folder.exists() and list(folder.iterdir())
    except PermissionError:
        return Finding("publisher", "fault", f"{folder} cannot be read", AS_OWNER)
    if not running:
        return Finding("publisher", "fault", f"none runs with {folder}", START)
    if state is None or time.time() - state.written > STALE_S:
        fix = "restart it: systemctl restart iot-device; its log: journalctl -u iot-device"
        return Finding("publisher", "fault", f"runs, but has reported nothing for {STALE_S:.0f} s", fix)
    what = f"{settings.sensor} every {settings.interval:g} s"
    return Finding("publisher", "ok", f"runs as process {state.process}, {what}")


def connection(settings: Settings) -> Finding:
    """Report the running publisher's connection."""
    state = State.read(settings.state_dir) if is_running(settings.state_dir) else None
    if state is None:
        return Finding("connection", "note", "unknown while no publisher runs; doctor tries it")
    for_ = span(time.time() - state.since)
    if time.time() - state.taken_over < TAKEN_OVER_S:
        text = f"another client connected as {state.thing} {span(time.time() - state.taken_over)} ago"
        fix = "give each host a thing of its own: the two disconnect each other again and again"
        return Finding("connection", "fault", text, fix)
    if not state.connected:
        why, _, fix = state.refusal.partition(": ")
        return Finding("connection", "fault", f"none for {for_}: {why or 'no answer yet'}", fix)
    last = state.last_acknowledged
    answered = f"; last acknowledgement {span(time.time() - last)} ago" if last else ""
    if state.refusal:
        why, _, fix = state.refusal.partition(": ")
        return Finding("connection", "fault", f"up for {for_}, but readings are refused: {why}{answered}", fix)
    return Finding("connection", "ok", f"up for {for_}{answered}; at most {state.rate:.0f} publishes a second")


@contextlib.contextmanager
def _database(path: Path) -> Iterator[sqlite3.Connection]:
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
    try:
        yield database
    finally:
        database.close()


def backlog(settings: Settings) -> list[Finding]:
    """Report what waits, and what was dropped or quarantined."""
    path = settings.state_dir / "spool.db"
    try:
        if not path.exists():
            return [Finding("backlog", "ok", "no reading was taken yet")]
        with damage.readable_errors(), _database(path) as database:
            [waiting] = database.execute("SELECT count(*) FROM readings").fetchone()
            oldest = database.execute("SELECT taken FROM readings ORDER BY seq LIMIT 1").fetchone()
            count = dict(database.execute("SELECT name, value FROM counters").fetchall())
            last = database.execute("SELECT reason FROM quarantine ORDER BY seq DESC LIMIT 1").fetchone()
        damaged = damage.moved(path)
    except (sqlite3.Error, OSError) as error:
        return [Finding("backlog", "fault", f"{path} cannot be read: {error}", damage.fix(error, AS_OWNER))]
    share = waiting / settings.spool_max_readings
    since = f", the oldest for {span(time.time() - oldest[0] / 1000)}" if oldest else ""
    text = (
        f"{counted(waiting)} waiting{since}; {count.get('acknowledged', 0):,} of {count.get('taken', 0):,} acknowledged"
    )
    text += f"; {share:.0%} full" if share > 0.01 else ""
    findings = [Finding("backlog", "note" if share > 0.5 else "ok", text)]
    dropped = count.get("dropped_count", 0) + count.get("dropped_age", 0)
    if dropped:
        fix = "raise spool_max_readings or spool_max_days, if the disk has room"
        findings.append(Finding("dropped", "note", f"{dropped:,} readings were dropped, too many or too old", fix))
    if damaged:
        lost = count.get("dropped_torn", 0)
        text = f"{len(damaged)} damaged spools were moved away; {lost:,} readings could not be saved"
        text += "; the counters neither, so that all totals are estimates" if count.get(ESTIMATED) else ""
        fix = f"check the disk (dmesg); then delete them: rm {' '.join(f'{one}*' for one in damaged)}"
        findings.append(Finding("torn", "note", text, fix))
    if last:
        text = f"{count.get('quarantined', 0):,} readings were quarantined, the last for {last[0]}"
        fix = "look at them: iot-device quarantine; send them again: iot-device quarantine --requeue"
        findings.append(Finding("quarantine", "note", text, fix))
    return findings


def validity(settings: Settings) -> Finding:
    """Check how long the certificate is valid."""
    renew = (
        "ansible-playbook site.yml --tags device issues another in time; "
        "a kit is deleted first, then made by --tags device_kit -e device_kit_reissue=true"
    )
    try:
        begins, ends = certificate.validity(settings.certificate)
    except (OSError, ValueError) as error:
        return Finding("certificate", "fault", str(error), renew)
    now = datetime.now(UTC)
    if now < begins:
        text = f"valid only from {begins:%Y-%m-%d %H:%M} UTC: this clock says {now:%Y-%m-%d %H:%M}"
        return Finding("certificate", "fault", text, "set the clock: timedatectl set-ntp true")
    left = (ends - now).total_seconds()
    if left < 0:
        return Finding("certificate", "fault", f"ended {span(left)} ago, on {ends:%Y-%m-%d}", renew)
    note = left < EXPIRY_NOTE_S
    return Finding("certificate", "note" if note else "ok", f"valid until {ends:%Y-%m-%d}, {span(left)} from now",
                   renew if note else "")  # fmt: skip


def time_of(settings: Settings) -> Finding:
    """Check how far the clock is off."""
    found, fix = clock.measure(settings), "synchronise it: timedatectl set-ntp true, or install systemd-timesyncd"
    kernel = {True: "the kernel says it is synchronised", False: "the kernel says it is not synchronised",
              None: "the kernel does not say"}[found.synchronised]  # fmt: skip
    if found.skew is None:
        fix = "" if found.synchronised else "set time_url to an https address that sends a Date; " + fix
        return Finding("clock", "ok" if found.synchronised else "note",
                       f"not compared, {found.source} gave no time ({found.why}); {kernel}", fix)  # fmt: skip
    if abs(found.skew) < SKEW_NOTE_S and found.synchronised is False:
        return Finding("clock", "ok", f"right within {SKEW_NOTE_S:.0f} s, by {found.source}, but {kernel}", fix)
    if abs(found.skew) < SKEW_NOTE_S:
        return Finding("clock", "ok", f"right within {max(1.0, abs(found.skew)):.0f} s, by {found.source}")
    text = f"{span(found.skew)} {'ahead' if found.skew > 0 else 'behind'}, by {found.source}; {kernel}"
    return Finding("clock", "fault" if abs(found.skew) >= SKEW_FAULT_S else "note", text, fix)
