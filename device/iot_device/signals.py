"""SIGTERM and SIGINT as an event."""

import ctypes
import os
import signal
import threading

STOPS = (signal.SIGTERM, signal.SIGINT)


def stop_on_signal() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set.

    A thread sets it, since `Event.set` in a signal handler deadlocks where the main thread is within `Event.wait`
    (https://docs.python.org/3/library/signal.html#signals-and-threads).
    """
    stop = threading.Event()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def watch() -> None:
        while os.read(reading, 1)[0] not in STOPS:
            pass
        stop.set()

    threading.Thread(target=watch, name="signals", daemon=True).start()
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in STOPS:
        signal.signal(number, lambda *_: None)  # the descriptor is written to before a handler runs
    return stop


def ignore_further() -> None:
    """Ignore both for good: Python's own end makes them fatal again.

    Not by `signal.signal` alone, which reports one that arrives just then as a race.
    """
    for number in STOPS:
        ctypes.CDLL(None).signal(number, ctypes.c_void_p(signal.SIG_IGN.value))
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
