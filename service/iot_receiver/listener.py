"""Accepts connections; while there is no time for all of them, whoever has come last is served first.

uvloop itself accepts one connection in each turn of its loop, the oldest. On a starved processor that one's sender gave
up long ago, or will give up before its answer; the newest has waited least. A connection that waits costs next to
nothing, and one that is served takes the processor from the others: so none is added while a request takes long. Health
checks and scrapes do not wait among messages: a receiver that fails them is restarted, or taken out of service.
"""

import asyncio
import math
import socket
from collections import deque
from collections.abc import Callable
from functools import partial

from iot_receiver.logs import fault
from iot_receiver.sockets import age

BACKLOG = 4_096
WAITING_MOST = 8_192
GIVEN_UP_SECONDS = 3.0  # IoT Core's own limit for all of its tries
TURNS = 8  # a request takes at least so many turns of the loop from its first byte to its answer
TURNS_SECONDS = 0.2  # while they take longer, no connection is added
PAUSE_SECONDS = 1.0  # after a connection could not be accepted, as asyncio's own server


class Listener:
    """Serves connections of a listening socket, in each turn of the loop one of either kind."""

    def __init__(self, listening: socket.socket, protocol: Callable[[socket.socket], asyncio.Protocol]) -> None:
        self.listening = listening
        self.opening: set[asyncio.Task[None]] = set()  # connections that get their protocol
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._accepted: list[tuple[float, socket.socket]] = []  # since when
        self._waiting: deque[tuple[float, socket.socket]] = deque()
        self._asking: deque[tuple[float, socket.socket]] = deque()  # those of health checks and scrapes
        self._turns: deque[float] = deque(maxlen=TURNS + 1)
        self._serving = False
        self._listen()

    def close(self) -> None:
        """Accept no more; who has connected already is served."""
        self._accept()
        self._sort()
        for crowd in (self._asking, self._waiting):
            while crowd:
                self._open(crowd.pop()[1])
        self._loop.remove_reader(self.listening)
        self.listening.close()

    def _listen(self) -> None:
        if self.listening.fileno() >= 0:
            self._loop.add_reader(self.listening, self._accept)

    def _accept(self) -> None:
        now = self._loop.time()
        while len(self._accepted) + len(self._waiting) + len(self._asking) < WAITING_MOST:
            try:
                connection, _ = self.listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                break
            except OSError as error:
                fault("not_accepted", "a connection could not be accepted", error=error)
                self._loop.remove_reader(self.listening)
                self._loop.call_later(PAUSE_SECONDS, self._listen)
                break
            self._accepted.append((now, connection))
        if not self._serving:
            self._serving = True
            self._loop.call_soon(self._serve)

    def _sort(self) -> None:
        """Part health checks and scrapes from messages; in the time since they were accepted, their bytes arrive."""
        for since, connection in self._accepted:
            (self._asking if _asks(connection) else self._waiting).append((since, connection))
        self._accepted.clear()

    def _serve(self) -> None:
        """Serve the newest whose sender still waits, and close those that nobody can still wait for."""
        now = self._loop.time()
        self._sort()
        self._turns.append(now)
        for crowd, time_left in ((self._asking, True), (self._waiting, now - self._turns[0] < TURNS_SECONDS)):
            while crowd and crowd[0][0] < now - GIVEN_UP_SECONDS:
                crowd.popleft()[1].close()
            while time_left and crowd and not self._open(crowd.pop()[1]):
                pass
        self._serving = bool(self._waiting or self._asking)
        if self._serving:
            self._loop.call_soon(self._serve)
        else:
            self._turns.clear()

    def _open(self, connection: socket.socket) -> bool:
        if age(connection) == math.inf:
            connection.close()
            return False
        task = self._loop.create_task(self._connect(connection))
        self.opening.add(task)
        task.add_done_callback(self.opening.discard)
        return True

    async def _connect(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(partial(self._protocol, connection), connection)
        except OSError:  # it was reset meanwhile
            connection.close()


def _asks(connection: socket.socket) -> bool:
    """Whether its first request has arrived and is a GET or HEAD."""
    try:
        return connection.recv(4, socket.MSG_PEEK | socket.MSG_DONTWAIT) in {b"GET ", b"HEAD"}
    except OSError:  # nothing has arrived yet
        return False
