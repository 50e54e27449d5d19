"""The command doctor: checks all that a reading needs on its way to the broker, and names each fault's fix."""

import contextlib
import os
import shutil
import socket
import ssl
import stat
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from iot_device import sensors, status
from iot_device.findings import Finding, show
from iot_device.measurements import shown
from iot_device.settings import AS_OWNER, DEFAULT_FILE, Settings, SettingsError, load
from iot_device.state import AlreadyRunningError, is_running, locked

TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 20.0
DISK_BYTES = 100 << 20
REISSUE = (
    "if it is: ansible-playbook site.yml --tags device -e device_reissue=true gives a new one, "
    "for a kit --tags device_kit -e device_kit_reissue=true"
)


def doctor(config: Path | None, flags: Mapping[str, Any], as_json: bool) -> int:
    """Print the findings; returns 1 if something is wrong."""
    try:
        settings = load(config, flags)
    except SettingsError as error:
        found = [
            Finding("settings", "fault", str(error), f"the file is {config or DEFAULT_FILE}; iot-device run --help")
        ]
        return show("iot-device", found, as_json)
    return show(f"{settings.thing} at {settings.endpoint}:{settings.port}", list(check(settings)), as_json)


def check(settings: Settings) -> Iterator[Finding]:
    """Check one thing after the other, in the order in which they are needed."""
    identity, trusted = key(settings), authority(settings)
    yield identity
    yield trusted
    yield status.validity(settings)
    yield status.time_of(settings)
    yield sensor(settings)
    yield disk(settings)
    yield from owners(settings)
    yield from status.backlog(settings)
    running = is_running(settings.state_dir)
    if running:
        yield status.publisher(settings)
    network = list(reach(settings))
    yield from network
    if running:
        yield status.connection(settings)
    elif network[-1].verdict == identity.verdict == trusted.verdict == "ok":
        yield connect(settings)


def key(settings: Settings) -> Finding:
    """Check that the key is readable, private, and the certificate's."""
    path = settings.key
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
        marked = [one for one in (settings.certificate, path, settings.ca) if one.read_bytes().startswith(BOM_UTF8)]
    except OSError as error:
        return Finding("key", "fault", f"{error.filename} cannot be read: {error.strerror}", AS_OWNER)
    if marked:
        files = " ".join(map(str, marked))
        fix = f"sed -i '1s/^\\xef\\xbb\\xbf//' {files}"
        return Finding("key", "fault", f"{files} begins with a byte order mark", fix)
    if b"ENCRYPTED" in content:
        text = f"{path} is encrypted, and the publisher has no passphrase"
        fix = f"decrypt it: openssl pkey -in {path} -out {path}.new && mv {path}.new {path}"
        return Finding("key", "fault", text, fix)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(settings.certificate, path, password="")
    except (ssl.SSLError, OSError) as error:
        text = f"{path} is not the key of {settings.certificate}, or one of them is no PEM: {error}"
        return Finding("key", "fault", text, "restore both as they were issued, together")
    if stat.S_IMODE(mode) & 0o077:
        return Finding("key", "fault", f"others can read {path}", f"chmod 600 {path}")
    return Finding("key", "ok", "belongs to the certificate, and is private")


def authority(settings: Settings) -> Finding:
    """Check that the file of the broker's authority holds a certificate."""
    try:
        ssl.create_default_context(cafile=str(settings.ca))
    except OSError as error:  # which an SSLError is
        text = f"{settings.ca} holds no certificate in PEM: {error}"
        return Finding("ca", "fault", text, "restore it as it was issued, with certificate and key")
    return Finding("ca", "ok", "holds the broker's authority")


def sensor(settings: Settings) -> Finding:
    """Take a reading, which is not published."""
    try:
        values = sensors.make(settings)()
    except (OSError, SettingsError) as error:
        return Finding("sensor", "fault", str(error), "check the settings sensor, sensor_path, sensor_command")
    return Finding("sensor", "ok", f"{settings.sensor} gives {shown(values, settings.measurements)}")


def disk(settings: Settings) -> Finding:
    """Check that the spool has room."""
    folder = settings.state_dir
    try:
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        usage = shutil.disk_usage(folder)
    except OSError as error:
        return Finding("disk", "fault", f"{folder} is not accessible: {error.strerror}", AS_OWNER)
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        fix = "find out why (dmesg), then mount -o remount,rw"
        return Finding("disk", "fault", f"{folder} is on a read-only file system", fix)
    if not folder.is_dir():
        return Finding("disk", "fault", f"{folder} is no folder", "remove it, or set state_dir to a folder")
    if folder == settings.state_dir and not os.access(folder, os.W_OK | os.X_OK):
        return Finding("disk", "fault", f"{folder} cannot be written to", AS_OWNER)
    text = f"{usage.free >> 20:,} MiB free for {settings.state_dir}"
    if usage.free < DISK_BYTES:
        return Finding("disk", "fault", text, "make room, or set state_dir to a disk that has it")
    return Finding("disk", "ok", text)


def owners(settings: Settings) -> list[Finding]:
    """Check that the files of the spool belong to the folder's owner: one of root's keeps the service from writing."""
    folder = settings.state_dir
    try:
        owner = folder.stat()
        foreign = [one for one in sorted(folder.iterdir()) if one.stat().st_uid != owner.st_uid]
    except OSError:  # disk and backlog report it
        return []
    if not foreign:
        return []
    text = f"{', '.join(one.name for one in foreign)} in {folder} does not belong to the folder's owner"
    return [Finding("owner", "fault", text, f"chown -R {owner.st_uid}:{owner.st_gid} {folder}")]


def reach(settings: Settings) -> Iterator[Finding]:
    """Resolve the broker's name, connect, and check its certificate; ends at the first fault."""
    where = f"{settings.endpoint}:{settings.port}"
    try:
        found = socket.getaddrinfo(settings.endpoint, settings.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # the latter for an invalid name
        fix = (
            "is endpoint right (aws iot describe-endpoint --endpoint-type iot:Data-ATS prints it), "
            "and does this host resolve names?"
        )
        yield Finding("name", "fault", f"{settings.endpoint} cannot be resolved: {error}", fix)
        return
    yield Finding("name", "ok", f"{settings.endpoint} is {', '.join(sorted({str(entry[4][0]) for entry in found}))}")
    try:
        link = socket.create_connection((settings.endpoint, settings.port), TIMEOUT_S)
    except OSError as error:
        fix = "does a firewall block the port, and is the network up?"
        yield Finding("network", "fault", f"{where} cannot be reached: {error}", fix)
        return
    with link:
        yield Finding("network", "ok", f"{where} answers")
        try:
            context = ssl.create_default_context(cafile=str(settings.ca))
        except OSError:  # reported by authority
            return
        try:
            with contextlib.suppress(ssl.SSLError):  # reported with the key; a password, so that nothing prompts for it
                context.load_cert_chain(settings.certificate, settings.key, password="")
            with context.wrap_socket(link, server_hostname=settings.endpoint) as secured:
                yield Finding("broker", "ok", f"its certificate is trusted ({secured.version()})")
        except ssl.SSLCertVerificationError as error:
            fix = f"is {settings.ca} this broker's authority, and the clock right?"
            yield Finding("broker", "fault", f"its certificate is not trusted: {error.verify_message}", fix)
        except TimeoutError:
            fix = "is this port the broker's, and does a proxy or firewall hold its answers back?"
            yield Finding("broker", "fault", f"{where} does not answer the TLS handshake", fix)
        except OSError as error:
            text = f"it ended the TLS handshake: {error}"
            fix = f"the device's certificate may be revoked, inactive or of another account; {REISSUE}"
            yield Finding("broker", "fault", text, fix)


def connect(settings: Settings) -> Finding:
    """Connect as the device; no publisher may run meanwhile."""
    from iot_device.connection import Connection, NotConnectedError  # noqa: PLC0415 - the AWS SDK is slow to load

    try:
        with locked(settings.state_dir), Connection(settings) as connection:
            connection.wait_connected(CONNECT_TIMEOUT_S)
    except AlreadyRunningError as error:
        return Finding("connection", "note", f"not tried: {error}", "try again: doctor asks the publisher that runs")
    except SettingsError as error:
        return Finding("connection", "fault", str(error), "check certificate, key and ca")
    except NotConnectedError as error:
        refusal = connection.refusal
        if refusal is None or not refusal.lasting:
            return Finding("connection", "fault", str(error), "try again; the broker's log may say more")
        detail = f" ({refusal.detail})" if refusal.detail else ""
        text = f"the broker refuses this device: {refusal.name}{detail}"
        return Finding("connection", "fault", text, f"is the certificate revoked or inactive? {REISSUE}; {refusal.fix}")
    return Finding("connection", "ok", f"the broker accepts this device as {settings.thing}")
