"""`iot-readings`: the API on the command line. It needs nothing but Python and the service's address."""

import argparse
import http.client
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

USAGE, REFUSED, UNREACHABLE = 2, 1, 3
ADDRESS = "http://127.0.0.1:8090"  # where `make readings` forwards to, and the command that role readings prints
TIMEOUT = 60.0  # seconds; a stream shows a sign of life every 15
TIME_WIDTH, VALUE_WIDTH = 24, 12
NONE = "-"
Document = dict[str, Any]


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """The service refused, or can't answer now; the message is its own."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.exit_status = REFUSED if status < 500 else UNREACHABLE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0: done, 1: refused, 2: wrong usage, 3: the service does not answer."""
    given = _parser().parse_args(arguments)
    try:
        given.command(given)
        sys.stdout.flush()
    except Refused as error:
        return _failed(str(error), error.exit_status)
    except (URLError, OSError, http.client.HTTPException) as error:
        if isinstance(error, BrokenPipeError):  # the reader, such as head, has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        reason = getattr(error, "reason", error)
        message = f"{given.url} does not answer ({reason}): forward it with `make readings`, or give another --url"
        return _failed(message, UNREACHABLE)
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="iot-readings", description="Readings of a fleet, from the service's API.")
    parser.add_argument("--url", default=os.environ.get("IOT_READINGS_URL", ADDRESS), type=_url,
                        help="address of the service (default: IOT_READINGS_URL, or %(default)s)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=run)
        return added

    def ranged(added: argparse.ArgumentParser) -> None:
        added.add_argument("device")
        added.add_argument("--since", default="1h", type=_moment, help="2h ago, or a time (default: %(default)s)")
        added.add_argument("--until", type=_moment, help="the same")
        added.add_argument("--step", help="minimum, mean and maximum of each step, such as 5m")
        added.add_argument("--measurement", action="append", help="only this one; may be repeated")

    added = command("devices", _devices, "list the devices, quiet ones first")
    added.add_argument("--search", help="a part of the name")
    added.add_argument("--state", choices=["quiet", "live", "never", "unknown"])
    command("latest", _latest, "show a device's newest reading").add_argument("device")
    ranged(command("query", _query, "show a device's readings, newest first"))
    ranged(command("csv", _csv, "write a device's readings as CSV, newest first"))
    command("tail", _tail, "print readings as they arrive").add_argument("device", nargs="*")
    return parser


# --- Commands


def _devices(given: argparse.Namespace) -> None:
    parameters = {"search": given.search, "state": given.state, "limit": 100}
    rows: list[list[str]] = []
    while True:
        page = json.load(_open(given, "/v1/devices", parameters))
        if given.json:
            _print_json(page["devices"])
        rows += [
            [each["deviceId"], each["state"], _age(each["ageSeconds"]), _values(each["last"])]
            for each in page["devices"]
        ]
        if page["next"] is None:
            break
        parameters["cursor"] = page["next"]
    if not given.json:
        _print_table([["DEVICE", "STATE", "LAST SEEN", "VALUES"], *rows])


def _latest(given: argparse.Namespace) -> None:
    reading = json.load(_open(given, f"/v1/devices/{quote(given.device, safe='')}/latest"))
    if given.json:
        _print_json([reading])
        return
    members = [("device", reading["deviceId"]), *reading["values"].items()]
    members += [(name, reading[name]) for name in ("time", "receivedAt", "messageId", "clockSkewMs") if name in reading]
    _print_table([[name, _text(value)] for name, value in members])


def _query(given: argparse.Namespace) -> None:
    documents = _lines(_open(given, *_range(given), accept="application/x-ndjson"))
    if given.json:
        _print_json(documents)
        return
    for place, each in enumerate(documents):
        values = each["values"]
        if given.step:
            values = {f"{name} {of}": value for name, part in values.items() for of, value in part.items()}
        if place == 0:
            print("TIME".ljust(TIME_WIDTH), *(_printable(name).rjust(VALUE_WIDTH) for name in values))
        print(each["time"].ljust(TIME_WIDTH), *(_text(value).rjust(VALUE_WIDTH) for value in values.values()))


def _csv(given: argparse.Namespace) -> None:
    answer = _open(given, *_range(given), accept="text/csv")
    while part := answer.read(65_536):
        sys.stdout.buffer.write(part)


def _tail(given: argparse.Namespace) -> None:
    answer = _open(given, "/v1/stream", {"device": given.device}, accept="text/event-stream")
    name = ""
    for raw in answer:
        line = raw.decode()
        if line.startswith("event: "):
            name = line[7:].strip()
        elif line.startswith("data: "):
            document = json.loads(line[6:])
            if name == "dropped":
                sys.stderr.write(f"iot-readings: {document['count']} readings were missed\n")
            elif given.json:
                _print_json([document])
            else:
                print(document["time"], _printable(document["deviceId"]).ljust(20), _values(document))
            sys.stdout.flush()


def _range(given: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    parameters = {"from": given.since, "to": given.until, "step": given.step, "measurement": given.measurement}
    return f"/v1/devices/{quote(given.device, safe='')}/readings", parameters


# --- Asking


def _open(
    given: argparse.Namespace, path: str, parameters: dict[str, Any] | None = None, accept: str = "application/json"
) -> http.client.HTTPResponse:
    """Ask the service.

    Raises:
        Refused: when it answers with an error.
    """
    kept = {name: value for name, value in (parameters or {}).items() if value}
    url = f"{given.url.rstrip('/')}{path}?{urlencode(kept, doseq=True)}"
    try:
        answer: http.client.HTTPResponse = urlopen(Request(url, headers={"Accept": accept}), timeout=TIMEOUT)  # noqa: S310 - checked by _url
    except HTTPError as error:
        try:
            detail = str(json.load(error)["detail"])
        except (ValueError, KeyError):
            detail = f"{given.url} answered {error.code}: is it the readings' service?"
        raise Refused(detail, error.code) from None
    return answer


def _lines(answer: Iterable[bytes]) -> Iterator[Document]:
    for line in answer:
        yield json.loads(line)


def _url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", text):
        raise argparse.ArgumentTypeError("must be an address such as http://127.0.0.1:8090")
    return text


def _moment(text: str) -> str:
    """A duration is a time ago; the service checks the rest."""
    return f"-{text}" if re.fullmatch(r"[0-9]{1,9}(ms|s|m|h|d)", text) else text


# --- Writing


def _printable(text: str) -> str:
    """A device's name can hold anything: a terminal gets only what can be printed."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _text(value: object) -> str:
    return _printable(value) if isinstance(value, str) else NONE if value is None else json.dumps(value)


def _values(reading: Document | None) -> str:
    if reading is None:
        return NONE
    return "  ".join(f"{_printable(name)} {_text(value)}" for name, value in reading["values"].items())


def _age(seconds: float | None) -> str:
    if seconds is None:
        return NONE
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return f"{int(seconds)} s ago"


def _print_json(documents: Iterable[Document]) -> None:
    for document in documents:
        print(json.dumps(document, ensure_ascii=False))


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    """Rows with their columns aligned, cut to the terminal's width."""
    rows = [[_printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for row in rows:
        print("  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip()[:width])


def _failed(message: str, status: int) -> int:
    sys.stderr.write(f"iot-readings: {_printable(message)}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
