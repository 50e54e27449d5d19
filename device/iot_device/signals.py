"""SIGTERM and SIGINT as an event."""

import os
import signal
import threading


def stop_on_signal() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set.

    A thread sets it, since `Event.set` in a signal handler deadlocks where the main thread is within `Event.wait`
    (https://docs.python.org/3/library/signal.html#signals-and-threads).
    """
    stop = threading.Event()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def watch() -> None:
        while os.read(reading, 1)[0] not in (signal.SIGTERM, signal.SIGINT):
            pass
        stop.set()

    threading.Thread(target=watch, name="signals", daemon=True).start()
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # the descriptor is written to before a handler runs
    return stop
