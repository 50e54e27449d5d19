"""Commands of `iot-device`."""

import argparse
import logging
import math
import sqlite3
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from iot_device import damage
from iot_device.settings import DEFAULT_FILE, SENSORS, Settings, SettingsError, load, table

EXAMPLES = """\
examples:
  iot-device run                        publish a reading at each interval, as /etc/iot-device/iot-device.toml says
  iot-device status                     is it connected, and what waits?
  iot-device doctor                     what is wrong, and how to fix it?
  iot-device publish --temperature 4    publish one reading
  iot-device publish --values '{"temp": 4, "door": true}'
  iot-device quarantine --requeue       send refused readings again
  iot-device simulate --rate 50 --count 1000 --ledger sent.jsonl

Exit status: 0 all is well, 1 something is wrong, 2 invalid settings.
"""
SIMULATE = """\
Readings go the same way as run's: through a spool, each until the broker has acknowledged it.

  --devices 20                 one connection, a gateway with 20 devices behind it (the receiver must allow gateways)
  --devices 20 --kits build/kits   20 connections, each as the thing of a kit: AWS allows each 100 publishes a second
"""


def positive(text: str) -> float:
    """Read a number above 0 and up to a million."""
    number = float(text)
    if not 1e-6 <= number <= 1e6:
        raise argparse.ArgumentTypeError(f"{text} must be above 0, and at most a million")
    return number


def finite(text: str) -> float:
    """Read a number that JSON can hold."""
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
        "--config", type=Path, metavar="FILE", help=f"settings file in TOML ({DEFAULT_FILE}, if it exists)"
    )
    group = options.add_argument_group("settings", "override the file's; defaults are in brackets")
    for name, setting in table().items():
        group.add_argument(
            f"--{name.replace('_', '-')}",
            type=setting.kind if setting.kind in (int, float) else str,
            choices=sorted(SENSORS) if name == "sensor" else None,
            metavar=name.upper(),
            help=setting.help.replace("%", "%%"),
        )
    return options


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="iot-device",
        description="Publishes a device's readings to AWS IoT Core over MQTT 5. Each reading is kept on disk until the "
        "broker has acknowledged it.",
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
    one.add_argument("--ledger", type=Path, metavar="FILE", help="append each reading's outcome as a line of JSON")
    one = add("publish", "publish one reading, and print it once it is acknowledged")
    values = one.add_mutually_exclusive_group()
    values.add_argument("--temperature", type=finite, help="degrees Celsius, instead of the sensor's")
    values.add_argument("--values", metavar="JSON", help="""measurements, such as '{"temp": 4, "door": true}'""")
    one = add("status", "show connection, backlog and certificate")
    one.add_argument("--json", action="store_true", help="print JSON")
    one = add("quarantine", "show readings that the broker refused for good, or send them again")
    one.add_argument("--requeue", action="store_true", help="return them to the queue")
    one.add_argument("--json", action="store_true", help="print JSON")
    one = add("doctor", "look for faults, and print each with its fix")
    one.add_argument("--json", action="store_true", help="print JSON")
    _add_load(add("simulate", "publish many readings, and print the totals", SIMULATE))
    return top


def _add_load(one: argparse.ArgumentParser) -> None:
    one.add_argument("--devices", type=positive_int, default=1, help="number of devices (1)")
    one.add_argument("--rate", type=positive, default=10.0, help="readings a second, of all devices together (10)")
    one.add_argument("--count", type=positive_int, default=0, help="number of readings (unlimited)")
    one.add_argument("--duration", type=positive, default=0.0, metavar="SECONDS", help="longest time to publish for")
    one.add_argument("--kits", type=Path, metavar="FOLDER", help="kits (unpacked or zips), a thing and connection each")
    one.add_argument("--ledger", type=Path, metavar="FILE", help="write each reading's outcome as a line of JSON")
    one.add_argument("--spool", type=Path, metavar="FILE", help="spool to keep; an interrupted one is continued")
    one.add_argument("--unlimited", action="store_true", help="ignore AWS's limit of publishes a second")


def chosen(arguments: list[str] | None) -> Callable[[], int]:
    """Return the command, with all imported that it needs. Raises SystemExit for wrong arguments."""
    given = parser().parse_args(arguments)
    level = {"run": logging.INFO, "doctor": logging.CRITICAL}.get(given.command, logging.WARNING)
    logging.basicConfig(
        level=logging.INFO if given.verbose else level,  # doctor prints its findings itself
        format="%(levelname)s %(message)s",
        stream=sys.stderr,
    )
    return partial(_run, _imported(given))


def _run(command: Callable[[], int]) -> int:
    """Return the exit status: 2 for invalid settings, 1 for what else is wrong."""
    try:
        return command()
    except SettingsError as error:
        print(f"iot-device: {error}", file=sys.stderr)
        return 2
    except sqlite3.Error as error:
        print(f"iot-device: the spool fails ({error}): {damage.fix(error)}", file=sys.stderr)
        return 1
    except OSError as error:  # no connection, or a file; the error names which
        print(f"iot-device: {error}", file=sys.stderr)
        return 1


def _imported(given: argparse.Namespace) -> Callable[[], int]:
    """Import what the command needs, and no more: the AWS SDK takes time and memory."""
    flags = {name: getattr(given, name) for name in table()}

    def settings() -> Settings:
        return load(given.config, flags)

    if given.command == "doctor":
        from iot_device import doctor  # noqa: PLC0415 - only what the command needs

        return lambda: doctor.doctor(given.config, flags, given.json)
    if given.command == "status":
        from iot_device import status  # noqa: PLC0415 - only what the command needs

        return lambda: status.status(settings(), given.json)
    if given.command == "quarantine":
        from iot_device import quarantine  # noqa: PLC0415 - only what the command needs

        return lambda: quarantine.quarantine(settings(), given.requeue, given.json)
    if given.command == "publish":
        from iot_device import publish  # noqa: PLC0415 - only what the command needs

        return lambda: publish.publish(settings(), given.temperature, given.values)
    if given.command == "run":
        from iot_device import run  # noqa: PLC0415 - only what the command needs

        return lambda: run.run(settings(), given.ledger)
    from iot_device import simulate  # noqa: PLC0415 - only what the command needs

    asked = simulate.Load(given.devices, given.rate, given.count, given.duration, given.kits, given.ledger,
                          given.spool, given.unlimited)  # fmt: skip
    return lambda: simulate.simulate(None if given.kits else settings(), asked)
