"""Commands: canary (one reading arrives), measure (many arrive, each once), fleet (what others' readings became), hops
(where the path ends)."""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from iot_verify import hops
from iot_verify.path import Ends, PublishError
from iot_verify.rows import Comparison, Sent, compare, complaint, devices, idle, silent, table

POLL_S = 0.5
SECOND_LOOK_S = 1.0  # what is delivered twice arrives twice, a moment apart


def settled(ends: Ends, sent: Sequence[Sent], seconds: float) -> Comparison:
    """Return the comparison once no reading is missing, or after some seconds."""
    until = time.monotonic() + seconds
    since = ends.since(sent)
    while True:
        outcome = compare(ends.schema, sent, ends.rows(since))
        if not outcome.missing or time.monotonic() >= until:
            return outcome
        time.sleep(POLL_S)


def canary(ends: Ends, wait: float) -> int:
    """Publish one reading and wait for its row."""
    outcome = settled(ends, ends.publish(1, 1.0), wait)
    if outcome.missing:
        message = outcome.missing[0]
        print(f"the broker took reading {message}, but after {wait:g} s there is no row of it", file=sys.stderr)
        return 1
    return 0


def measure(ends: Ends, count: int, rate: float, settle: float) -> int:
    """Publish readings, read them back, print the result."""
    sent = ends.publish(count, rate)
    settled(ends, sent, settle)
    time.sleep(SECOND_LOOK_S)
    outcome = compare(ends.schema, sent, ends.rows(ends.since(sent)))
    print(table(outcome))
    if not outcome.whole:
        print(complaint(outcome), file=sys.stderr)
    return 0 if outcome.whole else 1


def ages(ends: Ends, names: Sequence[str]) -> dict[str, float | None]:
    """Return how old each device's newest row is; clocks that disagree make it new."""
    found = {name: ends.newest(name) for name in names}
    return {name: None if at is None else max(0.0, time.time() - at) for name, at in found.items()}


def fleet(ends: Ends, names: Sequence[str], within: float) -> int:
    """Print each device's newest row; with `within`, wait as many seconds until each has a row that is not older."""
    until, limit = time.monotonic() + within, within or math.inf
    found = ages(ends, names)
    while within and (quiet := silent(found, limit)) and time.monotonic() < until:
        time.sleep(POLL_S)
        found |= ages(ends, quiet)
    if found:
        print(devices(found))
    if notice := idle(found):
        print(notice)
    if not (within and (quiet := silent(found, limit))):
        return 0
    print(f"no row of the last {within:g} s of {', '.join(quiet)}: iot-device doctor there says why", file=sys.stderr)
    return 1


def main() -> int:
    """Run a command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["canary", "measure", "fleet", "hops"])
    for name in ("publisher", "config"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("table", "schema", "thing"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("wait", "rate", "settle"):
        parser.add_argument(f"--{name}", type=float, default=10.0)
    parser.add_argument("--count", type=int, default=1)
    for name in ("canary", "rule", "url", "ca-file"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--within", type=float, default=0.0)
    parser.add_argument("--device", action="append", default=[])
    parser.add_argument("--queue", action="append", default=[])
    given = parser.parse_args()
    ends = Ends(given.publisher, given.config, given.table, given.schema, given.thing)
    try:
        if given.command == "canary":
            return canary(ends, given.wait)
        if given.command == "measure":
            return measure(ends, given.count, given.rate, given.settle)
        if given.command == "fleet":
            return fleet(ends, given.device, given.within)
    except PublishError as error:
        print(error, file=sys.stderr)
        return 1
    queues = [queue for queue in given.queue if queue]
    print(hops.report(list(hops.look(given.canary, given.rule, given.url, given.ca_file, queues))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
