"""How engine, deliveries and connections belong together, for `run` and `simulate` alike."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from iot_device.connection import Connection
from iot_device.delivery import WINDOW, Delivery
from iot_device.engine import HOUSEKEEPING_S, Engine
from iot_device.ledger import Ledger
from iot_device.pace import Pace
from iot_device.settings import Settings
from iot_device.spool import Spool
from iot_device.synchronisation import Hold

UNLIMITED_WINDOW = 1000


@dataclass
class Wiring:
    """One engine, and for each identity a delivery and its connection, in order. As a context manager it connects."""

    engine: Engine
    deliveries: list[Delivery]
    connections: list[Connection]

    def __enter__(self) -> Self:
        for connection in self.connections:
            connection.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self.connections:
            connection.stop()
        for connection in self.connections:
            connection.wait_stopped()


def wire(
    spool: Spool,
    identities: Sequence[Settings],
    ledger: Ledger,
    *,
    unlimited: bool = False,
    housekeeping: Callable[[], None] = lambda: None,
    every: float = HOUSEKEEPING_S,
    hold: Hold | None = None,
) -> Wiring:
    """Connect a spool with the broker of each identity; `unlimited` ignores AWS's limits of a connection.

    `housekeeping` is called in the engine's thread every so many seconds; `hold` decides when to begin.

    Raises SettingsError.
    """
    spool.on_delete = ledger.sync
    work = threading.Event()
    deliveries, connections = [], []
    for settings in identities:
        delivery = Delivery(
            spool,
            settings.thing,
            pace=Pace(0, 0) if unlimited else Pace(settings.rate_limit, settings.readings_limit),
            ledger=ledger,
            wake=work.set,
            window=UNLIMITED_WINDOW if unlimited else WINDOW,
            pack=settings.pack,
            pack_bytes=settings.pack_bytes,
        )
        connection = Connection(settings, delivery.on_change)
        delivery.line = connection
        deliveries.append(delivery)
        connections.append(connection)
    return Wiring(Engine(spool, deliveries, work, housekeeping, every, hold=hold), deliveries, connections)
