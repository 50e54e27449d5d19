"""What AWS IoT Core bills for readings: https://aws.amazon.com/iot-core/pricing/.

A publish is metered as a message, as one trigger of the rule and as one action, each in steps of 5 KiB. Basic Ingest
has no charge for the message.
"""

import math
from collections.abc import Sequence

STEP_BYTES = 5 * 1024
ENVELOPE = '{"iot_payload":"","iot_received_at":1767225600000,"iot_trace_id":"%s","iot_client_id":""}' % ("0" * 36)
HEAD = ("billable units per 1,000 readings", "message", "rule", "action", "in all")


def table(payloads: Sequence[str], pack_bytes: int, thing: str) -> str:
    """Return the units of each way to publish such readings: one by one or packed, with or without Basic Ingest.

    An action is counted for each publish; the rule's batching makes that fewer.
    """
    rows = []
    for name, sizes in (("one by one", list(map(len, payloads))), ("packed", packed(payloads, pack_bytes))):
        message, action = _units(sizes), _units([_envelope(size, thing) for size in sizes])
        for way, charged in ((name, message), (f"{name}, Basic Ingest", 0)):
            units = [round(one * 1000 / len(payloads)) for one in (charged, message, action)]
            rows.append((way, *map(str, units), str(sum(units))))
    return "\n".join(f"{way:<34}" + "".join(f"{one:>8}" for one in units) for way, *units in [HEAD, *rows])


def packed(payloads: Sequence[str], limit: int) -> list[int]:
    """Return the sizes of publishes that hold as many readings as fit, in bytes."""
    sizes: list[int] = []
    for payload in payloads:
        more = len(payload) + 1
        if sizes and sizes[-1] + more <= limit:
            sizes[-1] += more
        else:
            sizes.append(more + 1)
    return sizes


def _envelope(size: int, thing: str) -> int:
    """Return the size of what the rule's action forwards: the payload in base64, with its metadata."""
    return len(ENVELOPE) + len(thing) + 4 * math.ceil(size / 3)


def _units(sizes: Sequence[int]) -> int:
    return sum(math.ceil(size / STEP_BYTES) for size in sizes)
