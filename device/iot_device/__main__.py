"""Command line of `iot-device`. It imports all else late, since that takes a while."""

import signal
import sys


def main(arguments: list[str] | None = None) -> int:
    """Run a command. Returns the exit status; SIGINT before `run` handles it ends the process without a traceback."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # not where a shell has its background jobs ignore it
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        from iot_device import commands  # noqa: PLC0415 - only now a signal ends it quietly

        command = commands.chosen(arguments)
    finally:
        signal.signal(signal.SIGINT, handler)
    try:
        return command()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
