"""The command quarantine: readings that the broker refused for good, to look at and to send again."""

import json

from iot_device.reading import timestamp
from iot_device.settings import Settings
from iot_device.spool import open_spool

SHOWN = 200  # characters of a payload


def quarantine(settings: Settings, requeue: bool, as_json: bool) -> int:
    """Print the quarantined readings; or return them to the queue, from which the publisher sends them."""
    spool = open_spool(settings, owner=False)
    try:
        found = spool.quarantined()
        if requeue:
            print(f"{spool.requeue()} readings are in the queue again; iot-device run sends them")
        elif as_json:
            print(json.dumps([one._asdict() for one in found], indent=2))
        else:
            for one in found:
                print(f"{timestamp(one.taken)}  {one.reason}\n  {one.payload[:SHOWN]}")
            print(f"{len(found)} readings are quarantined" + ("; --requeue sends them again" if found else ""))
    finally:
        spool.close()
    return 0
