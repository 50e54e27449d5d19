"""Command line of `iot-device`."""

import argparse
import logging
import sys
from pathlib import Path

from iot_device import commands
from iot_device.publisher import NotConnectedError
from iot_device.sensors import SENSORS
from iot_device.settings import DEFAULT_FILE, SettingsError, load

SETTINGS = {
    "endpoint": "host name of the broker, ending in -ats.iot.<region>.amazonaws.com",
    "port": "its port (8883)",
    "thing": "name of the thing: client id and deviceId are the same",
    "certificate": "file of the thing's certificate (PEM)",
    "key": "file of its private key (PEM)",
    "ca": "file of the authority that signed the broker's certificate (Amazon Root CA 1)",
    "topic": "topic that readings go to (things/telemetry)",
    "interval": "seconds between two readings (10)",
    "sensor": f"where readings come from: {', '.join(SENSORS)}",
    "keep-alive": "seconds between signs of life on an idle connection (20)",
}


def positive(text: str) -> float:
    """Read a number above 0."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} must be above 0")
    return number


def positive_int(text: str) -> int:
    """Read a whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} must be a whole number above 0")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config", type=Path, metavar="FILE", help=f"settings file in TOML ({DEFAULT_FILE}, if there)"
    )
    group = common.add_argument_group("settings", "win over the file; defaults are in brackets")
    for name, text in SETTINGS.items():
        kind = {"interval": float, "port": int, "keep-alive": int}.get(name, str)
        choices = sorted(SENSORS) if name == "sensor" else None
        group.add_argument(
            f"--{name}", type=kind, choices=choices, metavar=name.upper().replace("-", "_"), help=text
        )
    top = argparse.ArgumentParser(
        prog="iot-device", description="Publishes a device's readings to AWS IoT Core over MQTT 5."
    )
    top.add_argument(
        "--verbose", action="store_true", help="log the connection's events for publish and simulate too"
    )
    kinds = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    kinds.add_parser("run", parents=[common], help="publish a reading at each interval until stopped")
    one = kinds.add_parser(
        "publish", parents=[common], help="publish one reading, and print it once it is acknowledged"
    )
    one.add_argument("--temperature", type=float, help="degrees Celsius, instead of the sensor's")
    load_ = kinds.add_parser("simulate", parents=[common], help="publish many readings, and print the totals")
    load_.add_argument("--count", type=positive_int, required=True, help="how many readings")
    load_.add_argument(
        "--rate", type=positive, default=10.0, help="readings a second, at most 100 by one connection (10)"
    )
    load_.add_argument(
        "--devices", type=positive_int, default=1, help="how many devices stand behind the connection (1)"
    )
    load_.add_argument(
        "--ledger", type=Path, metavar="FILE", help="write each reading and its outcome as a line of JSON"
    )
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run a command. Returns the exit status: 2 for wrong settings, 1 for no connection or a refusal."""
    given = parser().parse_args(arguments)
    quiet = given.command != "run" and not given.verbose
    logging.basicConfig(
        level=logging.WARNING if quiet else logging.INFO,
        format="%(levelname)s %(message)s",
        stream=sys.stderr,
    )
    flags = {name.replace("-", "_"): getattr(given, name.replace("-", "_")) for name in SETTINGS}
    try:
        settings = load(given.config, flags)
        if given.command == "run":
            return commands.run(settings)
        if given.command == "publish":
            return commands.publish(settings, given.temperature)
        return commands.simulate(settings, given.devices, given.rate, given.count, given.ledger)
    except SettingsError as error:
        print(f"iot-device: {error}", file=sys.stderr)
        return 2
    except NotConnectedError as error:
        print(f"iot-device: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
