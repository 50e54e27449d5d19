"""Hands what Ansible would run in a Python of its own to the run's module server; `make setup` puts it here.

A module needs 0.25 s of processor time, nearly all for importing its libraries. The callback
iotweb.deployment.module_server starts a Python that has imported them, and forks it for each module. This process
stays to wait for it.

Each start of Python imports this, so it imports nothing unless there is a server.
"""

import os
import sys

VARIABLE = "IOTWEB_MODULE_SERVER"  # the environment that the server runs in, a colon, and the path of its socket


def hand_over(prefix: str, path: str) -> None:
    """Have the program that standard input holds run by the server, and end as it ends; return if there is none."""
    import _signal  # type: ignore[import-not-found]  # noqa: PLC0415 - only these three load within a millisecond
    import _socket  # noqa: PLC0415
    import marshal  # noqa: PLC0415

    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    try:
        # Another user's server, as after su, would run it with that user's rights.
        if prefix != sys.prefix or os.stat(path).st_uid != os.geteuid():
            return
        server.connect(path)
        mask = os.umask(0o077)
        os.umask(mask)
        variables = {name: value for name, value in os.environ.items() if name != VARIABLE}
        streams = b"".join(file.to_bytes(4, sys.byteorder) for file in range(3))
        request = marshal.dumps((os.getcwd(), mask, variables))
        server.sendmsg([request], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
    except OSError:
        return
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    status = server.recv(4)
    if not status:
        os.write(2, b"The module server ended before the module did.\n")
    code = os.waitstatus_to_exitcode(int.from_bytes(status, sys.byteorder)) if status else 1
    os._exit(code if code >= 0 else 128 - code)  # a signal as shells report it


# Ansible starts Python without arguments and writes the program to its standard input.
if VARIABLE in os.environ and len(sys.orig_argv) == 1 and "PYTHONPATH" not in os.environ:
    hand_over(*os.environ[VARIABLE].split(":", 1))
