"""Accepts connections; while there is no time for all of them, whoever has come last is served first.

uvloop itself accepts one connection in each turn of its loop, the oldest. On a starved processor that one's sender gave
up long ago, or will before its answer; the newest has waited least. One that waits costs no time of the processor.
"""

import asyncio
import math
import socket
import sys
from collections import deque
from collections.abc import Callable
from functools import partial

from iot_receiver.logs import fault

BACKLOG = 4_096
WAITING_MOST = 8_192
GIVEN_UP_SECONDS = 3.0  # IoT Core's own limit for all of its tries
PAUSE_SECONDS = 1.0  # after a connection could not be accepted, as asyncio's own server
# struct tcp_info of linux/tcp.h
_STATE = 0
_CLOSED = {7, 8}  # TCP_CLOSE and TCP_CLOSE_WAIT of net/tcp_states.h
_LAST_DATA = slice(52, 56)  # tcpi_last_data_recv, in ms


def age(connection: socket.socket) -> float:
    """Seconds since the last bytes of a connection arrived; infinite when its sender has given up.

    On a starved processor, requests wait in the kernel, and in connections that are not served yet.
    """
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA.stop)
    return math.inf if info[_STATE] in _CLOSED else int.from_bytes(info[_LAST_DATA], sys.byteorder) / 1_000


class Listener:
    """Serves connections of a listening socket, one more in each turn of the loop."""

    def __init__(self, listening: socket.socket, protocol: Callable[[socket.socket], asyncio.Protocol]) -> None:
        self.listening = listening
        self.opening: set[asyncio.Task[None]] = set()  # connections that get their protocol
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[float, socket.socket]] = deque()  # since when
        self._serving = False
        self._listen()

    def close(self) -> None:
        """Accept no more; who has connected already is served."""
        self._accept()
        while self._waiting:
            self._open(self._waiting.pop()[1])
        self._loop.remove_reader(self.listening)
        self.listening.close()

    def _listen(self) -> None:
        if self.listening.fileno() >= 0:
            self._loop.add_reader(self.listening, self._accept)

    def _accept(self) -> None:
        now = self._loop.time()
        while len(self._waiting) < WAITING_MOST:
            try:
                connection, _ = self.listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                break
            except OSError as error:
                fault("not_accepted", "a connection could not be accepted", error=error)
                self._loop.remove_reader(self.listening)
                self._loop.call_later(PAUSE_SECONDS, self._listen)
                break
            self._waiting.append((now, connection))
        if not self._serving:
            self._serve()

    def _serve(self) -> None:
        """Serve the newest connection whose sender still waits, and close those that nobody can still wait for."""
        waiting, given_up = self._waiting, self._loop.time() - GIVEN_UP_SECONDS
        while waiting and waiting[0][0] < given_up:
            waiting.popleft()[1].close()
        while waiting and not self._open(waiting.pop()[1]):
            pass
        self._serving = bool(waiting)
        if waiting:
            self._loop.call_soon(self._serve)

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
