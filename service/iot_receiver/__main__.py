"""The command line: `iot-receiver` receives, `iot-receiver redrive` takes dead letters back."""

import os
import signal
import sys


def main() -> int:
    """Run a command.

    A container's first process is not ended by a signal that it does not handle, and the imports take a second or more:
    so SIGTERM is handled before them, and until the command handles it in its own way there is nothing to finish.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    from iot_receiver import libraries  # noqa: PLC0415 - see above

    if faults := list(libraries.faults()):
        sys.stderr.write("iot-receiver can't start:\n{}\n".format("\n".join(faults)))
        return 2
    arguments = sys.argv[1:]
    if not arguments:
        from iot_receiver.process import receive  # noqa: PLC0415 - see above

        return receive()
    if arguments[0] == "redrive":
        from iot_receiver.redrive.command import main as redrive  # noqa: PLC0415 - see above

        return redrive(arguments[1:])
    sys.stderr.write("usage: iot-receiver [redrive]\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
