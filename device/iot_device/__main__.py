"""Command line of `iot-device`."""

import argparse
import logging
import math
import sqlite3
import sys
from pathlib import Path

from iot_device import torn
from iot_device.settings import DEFAULT_FILE, SENSORS, Settings, SettingsError, load

SETTINGS = {
    "endpoint": "host name of the broker, ending in -ats.iot.<region>.amazonaws.com",
    "port": "its port (8883)",
    "thing": "name of the thing: client id and deviceId are the same",
    "certificate": "file of the thing's certificate (PEM)",
    "key": "file of its private key (PEM)",
    "ca": "file of the authority that signed the broker's certificate (Amazon Root CA 1)",
    "topic": "topic that readings go to (things/telemetry)",
    "interval": "seconds between two readings (10)",
    "sensor": f"where readings come from: {', '.join(SENSORS)} (simulated)",
    "sensor-path": "with sensor cpu, the file of its thermal zone (/sys/class/thermal/thermal_zone0/temp)",
    "sensor-command": "with sensor command, a shell's command line that prints degrees Celsius",
    "sensor-timeout": "seconds that this command may take (10)",
    "keep-alive": "seconds between signs of life on an idle connection (20)",
    "reconnect-max": "seconds between two tries to connect, at most (60)",
    "rate-limit": "publishes a second at most; 0 for no limit (100, AWS's limit of a connection)",
    "state-dir": "folder of the spool and the state (/var/lib/iot-device)",
    "spool-max-readings": "how many readings may wait; beyond that the oldest are dropped (500000)",
    "spool-max-days": "how many days a reading may wait (30)",
    "metrics-file": "file that metrics are written to, for Prometheus (metrics.prom in the state's folder)",
    "time-url": "https address whose answer's Date the clock is compared with (the endpoint's port 443)",
}
KINDS = {"port": int, "keep-alive": int, "spool-max-readings": int, "interval": float, "sensor-timeout": float,
         "rate-limit": float, "reconnect-max": float, "spool-max-days": float}  # fmt: skip
EXAMPLES = """\
examples:
  iot-device run                        publish by /etc/iot-device/iot-device.toml until stopped
  iot-device status                     is it connected, and what waits?
  iot-device doctor                     what is wrong, and how is it mended?
  iot-device publish --temperature 4    publish one reading
  iot-device simulate --rate 50 --count 1000 --ledger sent.jsonl

Exit status: 0 all is well, 1 something is not, 2 wrong settings.
"""
SIMULATE = """\
Readings take the same way as run's: through a spool, each until the broker has acknowledged it.

  --devices 20                 one connection, a gateway with 20 devices behind it (the receiver must allow gateways)
  --devices 20 --kits build/kits   20 connections, each as the thing of a kit: AWS takes 100 publishes a second of each
"""


def positive(text: str) -> float:
    """Read a number above 0, of a size that can be waited for."""
    number = float(text)
    if not 1e-6 <= number <= 1e6:
        raise argparse.ArgumentTypeError(f"{text} must be above 0, and at most a million")
    return number


def finite(text: str) -> float:
    """Read a number that JSON has."""
    number = float(text)
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text} must be a finite number")
    return number


def positive_int(text: str) -> int:
    """Read a whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} must be a whole number above 0")
    return int(text)


def common() -> argparse.ArgumentParser:
    """Return the options of every command."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        "--config", type=Path, metavar="FILE", help=f"settings file in TOML ({DEFAULT_FILE}, if there)"
    )
    group = options.add_argument_group("settings", "win over the file's; defaults are in brackets")
    for name, text in SETTINGS.items():
        choices = sorted(SENSORS) if name == "sensor" else None
        group.add_argument(
            f"--{name}", type=KINDS.get(name, str), choices=choices, metavar=name.upper().replace("-", "_"), help=text
        )
    return options


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="iot-device",
        description="Publishes a device's readings to AWS IoT Core over MQTT 5. A reading that was taken is kept on "
        "disk until the broker has acknowledged it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--verbose", action="store_true", help="log the connection's events for publish and simulate too")
    kinds = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    options = common()

    def add(name: str, text: str, description: str = "") -> argparse.ArgumentParser:
        return kinds.add_parser(
            name,
            parents=[options],
            help=text,
            description=description or f"{text[0].upper()}{text[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    one = add("run", "publish a reading at each interval until stopped")
    one.add_argument("--ledger", type=Path, metavar="FILE", help="add each reading and its outcome as a line of JSON")
    one = add("publish", "publish one reading, and print it once it is acknowledged")
    one.add_argument("--temperature", type=finite, help="degrees Celsius, instead of the sensor's")
    one = add("status", "show connection, backlog and certificate")
    one.add_argument("--json", action="store_true", help="print JSON")
    one = add("doctor", "look for what is wrong, each fault with its fix")
    one.add_argument("--json", action="store_true", help="print JSON")
    _add_load(add("simulate", "publish many readings, and print the totals", SIMULATE))
    return top


def _add_load(one: argparse.ArgumentParser) -> None:
    one.add_argument("--devices", type=positive_int, default=1, help="how many devices publish (1)")
    one.add_argument("--rate", type=positive, default=10.0, help="readings a second, of all devices together (10)")
    one.add_argument("--count", type=positive_int, default=0, help="how many readings; without it, until stopped")
    one.add_argument("--duration", type=positive, default=0.0, metavar="SECONDS", help="how long, at most")
    one.add_argument("--kits", type=Path, metavar="FOLDER", help="kits (unpacked or zips), a thing and connection each")
    one.add_argument("--ledger", type=Path, metavar="FILE", help="write each reading and its outcome as a line of JSON")
    one.add_argument("--spool", type=Path, metavar="FILE", help="spool to keep: one that broke off is gone on with")
    one.add_argument("--unlimited", action="store_true", help="leave AWS's limit of publishes a second aside")


def main(arguments: list[str] | None = None) -> int:
    """Run a command. Returns the exit status: 2 for wrong settings, 1 for what is not as it should be."""
    given = parser().parse_args(arguments)
    level = {"run": logging.INFO, "doctor": logging.CRITICAL}.get(given.command, logging.WARNING)
    logging.basicConfig(
        level=logging.INFO if given.verbose else level,  # what doctor finds it says itself
        format="%(levelname)s %(message)s",
        stream=sys.stderr,
    )
    flags = {name.replace("-", "_"): getattr(given, name.replace("-", "_")) for name in SETTINGS}
    try:
        if given.command == "doctor":
            from iot_device import doctor  # noqa: PLC0415 - only doctor needs it, and it takes memory

            return doctor.doctor(given.config, flags, given.json)
        if given.command == "simulate":
            from iot_device import simulate  # noqa: PLC0415 - only simulate needs it, and it takes memory

            asked = simulate.Load(given.devices, given.rate, given.count, given.duration, given.kits, given.ledger,
                                  given.spool, given.unlimited)  # fmt: skip
            return simulate.simulate(None if given.kits else load(given.config, flags), asked)
        return _act(given, load(given.config, flags))
    except SettingsError as error:
        print(f"iot-device: {error}", file=sys.stderr)
        return 2
    except sqlite3.Error as error:
        print(f"iot-device: the spool fails ({error}): {torn.fix(error)}", file=sys.stderr)
        return 1
    except OSError as error:  # no connection, or a file that is not as it should be: it says which
        print(f"iot-device: {error}", file=sys.stderr)
        return 1


def _act(given: argparse.Namespace, settings: Settings) -> int:
    if given.command == "status":
        from iot_device import status  # noqa: PLC0415 - `run` never needs it

        return status.status(settings, given.json)
    from iot_device import publishing  # noqa: PLC0415 - loads the AWS SDK, which status does without

    if given.command == "run":
        return publishing.run(settings, given.ledger)
    return publishing.publish(settings, given.temperature)


if __name__ == "__main__":
    sys.exit(main())
