"""Accepts connections; while there is no time for all of them, whoever has come last is served first.

uvloop itself accepts one connection in each turn of its loop, the oldest. On a starved processor that one's sender gave
up long ago, or will before its answer; the newest has waited least. One that waits costs no time of the processor, and
one that is served takes it from the others: so none is added while a request takes long. Health checks and scrapes do
not wait among messages: whoever fails them is restarted, or taken out of service.
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
TURNS = 8  # of the loop that a request takes from its first byte to its answer, at least
TURNS_SECONDS = 0.2  # the longest that they may take, if another connection is to be served
PAUSE_SECONDS = 1.0  # after a connection could not be accepted, as asyncio's own server


class Listener:
    """Serves connections of a listening socket, one more in each turn of the loop."""

    def __init__(self, listening: socket.socket, protocol: Callable[[socket.socket], asyncio.Protocol]) -> None:
        self.listening = listening
        self.opening: set[asyncio.Task[None]] = set()  # connections that get their protocol
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[float, socket.socket]] = deque()  # since when
        self._asking: deque[socket.socket] = deque()  # those of health checks and scrapes
        self._turns: deque[float] = deque(maxlen=TURNS)
        self._serving = False
        self._listen()

    def close(self) -> None:
        """Accept no more; who has connected already is served."""
        self._accept()
        while self._asking:
            self._open(self._asking.pop())
        while self._waiting:
            self._open(self._waiting.pop()[1])
        self._loop.remove_reader(self.listening)
        self.listening.close()

    def _listen(self) -> None:
        if self.listening.fileno() >= 0:
            self._loop.add_reader(self.listening, self._accept)

    def _accept(self) -> None:
        now = self._loop.time()
        while len(self._waiting) + len(self._asking) < WAITING_MOST:
            try:
                connection, _ = self.listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                break
            except OSError as error:
                fault("not_accepted", "a connection could not be accepted", error=error)
                self._loop.remove_reader(self.listening)
                self._loop.call_later(PAUSE_SECONDS, self._listen)
                break
            if _asks(connection):
                self._asking.append(connection)
            else:
                self._waiting.append((now, connection))
        if not self._serving:
            self._serve()

    def _serve(self) -> None:
        """Serve the newest connection whose sender still waits, and close those that nobody can still wait for."""
        now, waiting, asking = self._loop.time(), self._waiting, self._asking
        while waiting and waiting[0][0] < now - GIVEN_UP_SECONDS:
            waiting.popleft()[1].close()
        while asking and not self._open(asking.popleft()):
            pass
        self._turns.append(now)
        if now - self._turns[0] < TURNS_SECONDS:
            while waiting and not self._open(waiting.pop()[1]):
                pass
        self._serving = bool(waiting or asking)
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
    """Whether its first request has arrived and is no message; on a starved processor it has."""
    try:
        return connection.recv(4, socket.MSG_PEEK | socket.MSG_DONTWAIT) in {b"GET ", b"HEAD"}
    except OSError:  # nothing has arrived yet
        return False
