# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs programs in forks of a Python that has imported what modules import.

Its standard input is a pipe, whose end ends it; its arguments are the descriptor of a socket that listens and, for
programs other than modules, the names of what to import. A request (requirements/module_client.py) is a working folder,
a umask and variables, with the three standard streams; the reply is the program's status as wait() reports it. A client
that goes takes its program with it.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import importlib.machinery
import marshal
import os
import selectors
import signal
import socket
import sys
import threading
import traceback
import types
from collections.abc import Sequence

REQUEST = 1 << 20  # bytes, more than a socket takes at once
# What all modules import, then those for AWS and Kubernetes; imported while no request waits.
LIBRARIES = ("ansible.module_utils._internal._ansiballz._loader", "ansible.module_utils.urls", "boto3.session",
             "botocore.client", "botocore.httpsession", "botocore.signers", "botocore.waiter", "botocore.paginate",
             "cryptography.x509", "kubernetes.dynamic")  # fmt: skip


class ArchiveFinder:
    """Finds what a module's archive adds to a package that was imported from elsewhere before."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None) \
            -> importlib.machinery.ModuleSpec | None:  # fmt: skip
        if not name.startswith("ansible."):
            return None
        package = name.replace(".", "/").rpartition("/")[0]
        return importlib.machinery.PathFinder.find_spec(name, [f"{entry}/{package}" for entry in sys.path])


def run(folder: str, mask: int, variables: dict[str, str]) -> int:
    """Run the program on standard input as `python` would; its exit status."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.umask(mask)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = [""]
    sys.path.insert(0, "")
    sys.modules["__main__"] = main = types.ModuleType("__main__")
    status = 0
    try:
        exec(compile(sys.stdin.buffer.read(), "<stdin>", "exec"), main.__dict__)  # noqa: S102 - it is what a Python is for
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
    except BaseException:  # noqa: BLE001 - as Python itself does
        traceback.print_exc()
        status = 1
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status & 0xFF


class Server:
    """Accepts requests, forks for each, and reports how the forks end."""

    def __init__(self, listener: socket.socket, libraries: Sequence[str]) -> None:
        self.listener = listener
        self.libraries = iter(libraries)
        self.selector = selectors.DefaultSelector()
        self.selector.register(0, selectors.EVENT_READ)
        self.selector.register(listener, selectors.EVENT_READ)

    def serve(self) -> None:
        """Serve until standard input ends."""
        while True:
            ready = self.selector.select(timeout=0)
            if not ready and (library := next(self.libraries, None)):
                with contextlib.suppress(ImportError):  # it is not installed
                    importlib.import_module(library)
                gc.freeze()  # what forks share stays shared
                continue
            for event in ready or self.selector.select():
                key = event[0]
                if key.fileobj == 0:
                    return
                if key.fileobj is self.listener:
                    self.accept()
                elif isinstance(key.fileobj, socket.socket):
                    self.abandon(key.fileobj, key.data)
                else:
                    self.report(key)

    def accept(self) -> None:
        """Fork for a request."""
        client = self.listener.accept()[0]
        request, files = socket.recv_fds(client, REQUEST, 3)[:2]
        if not request:
            client.close()
            return
        process = os.fork()
        if process == 0:
            try:
                os.setpgid(0, 0)
                for stream, file in enumerate(files):
                    os.dup2(file, stream)
                os.closerange(3, 1 << 16)
                os._exit(run(*marshal.loads(request)))  # noqa: S302 - from a process of the same user
            finally:  # where nobody reads its output any more
                os._exit(1)
        os.setpgid(process, process)  # here as well, so that it has happened before the next event
        for file in files:
            os.close(file)
        self.selector.register(client, selectors.EVENT_READ, process)
        self.selector.register(os.pidfd_open(process), selectors.EVENT_READ, (process, client))

    def abandon(self, client: socket.socket, process: int) -> None:
        """End the program of a client that is gone, and what it started."""
        if client in self.selector.get_map():  # or the program ended at the same time
            self.selector.unregister(client)
            os.killpg(process, signal.SIGINT)  # at which modules remove what they unpacked

    def report(self, key: selectors.SelectorKey) -> None:
        """Tell a client how its program ended."""
        process, client = key.data
        self.selector.unregister(key.fileobj)
        os.close(key.fd)
        status = os.waitpid(process, 0)[1]
        if client in self.selector.get_map():
            self.selector.unregister(client)
            with contextlib.suppress(OSError):  # it is gone
                client.send(status.to_bytes(4, sys.byteorder))
        client.close()


if __name__ == "__main__":
    sys.meta_path.append(ArchiveFinder)
    Server(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:] or LIBRARIES).serve()
