"""Accepts connections; while there is no time for all of them, whoever has come last is served first.

uvloop itself accepts one connection in each turn of its loop, the oldest. On a starved processor that one's sender gave
up long ago, or will give up before its answer; the newest has waited least. Each connection that is accepted takes the
processor from the others. So what can't be served at once stays in the kernel, in one queue for each tenth of a second,
and a queue whose senders have all given up is closed as a whole, when there is time for that.
"""

import array
import asyncio
import math
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from iot_receiver.logs import fault
from iot_receiver.sockets import age, backlog

BACKLOG = 4_096  # of a queue
WAITING_MOST = 16_384  # about 64 MiB of the node's memory, 256 if each has all of what the kernel buffers
BACKLOG_CROWDED = 512  # while more wait; the kernel drops what is beyond, and its sender connects again a second later
QUEUE_SECONDS = 0.1  # between the first and the last connection of a queue
GIVEN_UP_SECONDS = 3.0  # IoT Core's own limit for all of its tries
KEPT_MOST = 32_768  # connections, those included whose senders have given up
KEPT_SECONDS = 10.0  # closing a queue can wait so long: it takes up to an eighth of an overload's processor time
GIVEN_UP_MOST = 32  # connections closed in a turn of the loop
TURNS = 8  # a request takes at least so many turns of the loop from its first byte to its answer
TURNS_SECONDS = 0.1  # while they take longer, no connection is added: with more of them each costs more
PAUSE_SECONDS = 1.0  # after a connection could not be accepted, as asyncio's own server

SO_ATTACH_REUSEPORT_CBPF = 51  # asm-generic/socket.h
BPF_RETURN = 0x06  # BPF_RET | BPF_K of linux/bpf_common.h


class Queues:
    """Listening sockets of one address, the newest of which gets all new connections (SO_REUSEPORT, socket(7)).

    Attributes:
        address: where they listen.
        newest: the one that was added last.
    """

    def __init__(self, host: str, port: int, receive_bytes: int) -> None:
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=self._family) as alone:  # fails where another process listens
            self.address = alone.getsockname()
        self._receive_bytes = receive_bytes
        self._numbered: list[socket.socket] = []  # as the kernel numbers them
        self.newest = self._opened(BACKLOG)

    def __iter__(self) -> Iterator[socket.socket]:
        return iter(self._numbered)

    def add(self, most: int) -> None:
        """Begin another one, for so many connections at most.

        Raises:
            OSError: when the kernel has no room for it; everything is as before.
        """
        queue = self._opened(most)
        try:
            self._choose(queue)
        except OSError:
            self.close(queue)
            raise
        self.newest = queue

    def close(self, queue: socket.socket) -> None:
        """Close one, with all connections that are in it."""
        last = self._numbered.pop()
        if last is not queue:  # it gets the number of the one that is closed, before those connections end
            self._numbered[self._numbered.index(queue)] = last
            if last is self.newest:
                with suppress(OSError):  # new connections are spread over all then, until the next is begun
                    self._choose(last)
        queue.close()

    def end(self) -> None:
        """Close all."""
        while self._numbered:
            self._numbered.pop().close()

    def _opened(self, most: int) -> socket.socket:
        queue = socket.create_server(self.address, family=self._family, backlog=most, reuse_port=True)
        queue.setblocking(False)
        queue.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_bytes)  # accepted sockets inherit it
        self._numbered.append(queue)
        return queue

    def _choose(self, queue: socket.socket) -> None:
        """Have the kernel choose it, by a program of one instruction that returns its number."""
        program = array.array("B", struct.pack("HBBI", BPF_RETURN, 0, 0, self._numbered.index(queue)))
        argument = struct.pack("HP", 1, program.buffer_info()[0])  # struct sock_fprog of linux/filter.h
        queue.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, argument)


class Listener:
    """Serves the connections of an address, one in each turn of the loop."""

    def __init__(self, queues: Queues, protocol: Callable[[socket.socket], asyncio.Protocol]) -> None:
        self.opening: set[asyncio.Task[None]] = set()  # connections that get their protocol
        self.queues = queues
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._older: deque[tuple[float, socket.socket]] = deque()  # since when
        self._empty = 0.0  # when the newest queue was, the last time
        self._turns: deque[float] = deque(maxlen=TURNS + 1)
        self._serving = self._looking = self._crowded = self.closed = False
        self._listen()

    def close(self) -> None:
        """Accept no more; who has connected already is served."""
        self.closed = True
        self._loop.remove_reader(self.queues.newest)
        try:
            for queue in self._newest_first(self._loop.time()):
                while connection := _accepted(queue):
                    self._open(connection)
        except Exception as error:  # noqa: BLE001 - whatever it is, the end is reached
            fault("not_accepted", "connections could not be accepted", error=error)
        self.queues.end()

    def _listen(self) -> None:
        if not self.closed:
            self._loop.add_reader(self.queues.newest, self._ready)

    def _ready(self) -> None:
        if not self._serving:
            self._serving = True
            self._empty = self._loop.time()
            self._loop.call_soon(self._serve)

    def _serve(self) -> None:
        if self.closed:
            return
        now = self._loop.time()
        self._turns.append(now)
        try:
            if now - self._turns[0] < TURNS_SECONDS:
                self._serving = self._serve_newest(now)
            if now - self._empty > QUEUE_SECONDS:
                self._begin_queue(now)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next one is accepted
            fault("not_accepted", "a connection could not be accepted", error=error)
            self._loop.remove_reader(self.queues.newest)
            self._look_again(PAUSE_SECONDS)
            self._serving = False
        self._close_given_up(now)
        if self._serving:
            self._loop.call_soon(self._serve)
            return
        self._turns.clear()
        if self._older:  # whose handshake was under way may still come to be in one
            self._look_again(QUEUE_SECONDS)

    def _look_again(self, seconds: float) -> None:
        if not self._looking:
            self._looking = True
            self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        self._looking = False
        self._listen()
        self._ready()

    def _newest_first(self, now: float) -> Iterator[socket.socket]:
        """Those in which a sender can still wait."""
        yield self.queues.newest
        for since, queue in reversed(self._older):
            if now - since > GIVEN_UP_SECONDS:
                return
            yield queue

    def _serve_newest(self, now: float) -> bool:
        """Serve a connection of the newest queue that has one; False when none waits."""
        given_up = 0
        for queue in self._newest_first(now):
            while connection := _accepted(queue):
                if self._open(connection):
                    return True
                given_up += 1
                if given_up == GIVEN_UP_MOST:
                    return True
            if queue is self.queues.newest:
                self._empty = now
        return False

    def _begin_queue(self, now: float) -> None:
        """Leave those who wait where they are, and begin another queue for whoever comes now."""
        self._empty = now
        former = self.queues.newest
        if not backlog(former):
            return
        waiting = sum(map(backlog, self._newest_first(now)))
        self._crowded = sum(map(backlog, self.queues)) > KEPT_MOST
        try:
            self.queues.add(BACKLOG_CROWDED if waiting > WAITING_MOST else BACKLOG)
        except OSError as error:
            fault("queue_missing", "connections wait longer, as the kernel has no room for another queue", error=error)
            return
        self._older.append((now, former))
        self._loop.remove_reader(former)
        self._loop.add_reader(self.queues.newest, self._ready)

    def _close_given_up(self, now: float) -> None:
        """Close the oldest queue if nobody can still wait there, unless there is better to do and room to keep it."""
        if self._older:
            kept = now - self._older[0][0]
            if kept > GIVEN_UP_SECONDS and (not self._serving or self._crowded or kept > KEPT_SECONDS):
                self.queues.close(self._older.popleft()[1])

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


def _accepted(queue: socket.socket) -> socket.socket | None:
    try:
        return queue.accept()[0]
    except (BlockingIOError, ConnectionAbortedError):
        return None
