"""What the kernel knows of a connection: on a starved processor, bytes wait for the loop, and the loop for its turn."""

import math
import socket
import sys

# struct tcp_info of linux/tcp.h
_STATE = 0
_CLOSED = {7, 8}  # TCP_CLOSE and TCP_CLOSE_WAIT of net/tcp_states.h
_UNACKED = slice(24, 28)
_LAST_DATA_SENT, _LAST_DATA_RECEIVED = slice(44, 48), slice(52, 56)  # ms ago


def _info(connection: socket.socket) -> bytes:
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_RECEIVED.stop)


def _seconds(info: bytes, field: slice) -> float:
    return int.from_bytes(info[field], sys.byteorder) / 1_000


def age(connection: socket.socket) -> float:
    """Seconds since the last bytes of a connection arrived; infinite when its sender has given up.

    On a starved processor, requests wait in the kernel, and in connections that are not served yet.
    """
    info = _info(connection)
    return math.inf if info[_STATE] in _CLOSED else _seconds(info, _LAST_DATA_RECEIVED)


def answered_within(connection: socket.socket) -> float:
    """Seconds from the last bytes sent to the last bytes received, whenever this process came to read them."""
    info = _info(connection)
    return max(0.0, _seconds(info, _LAST_DATA_SENT) - _seconds(info, _LAST_DATA_RECEIVED))


def backlog(listening: socket.socket) -> int:
    """How many connections wait to be accepted: what TCP_INFO has of a listening socket where others have segments."""
    return int.from_bytes(_info(listening)[_UNACKED], sys.byteorder)
