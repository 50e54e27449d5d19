"""Prints those ports of an address that nothing can listen on: taken_ports.py ADDRESS PORT..."""

import socket
import sys

for port in sys.argv[2:]:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what a closed connection still holds is free
        try:
            probe.bind((sys.argv[1], int(port)))
        except OSError:
            print(port)
