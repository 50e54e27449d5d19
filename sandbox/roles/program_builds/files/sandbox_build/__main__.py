"""Command line: `python -m sandbox_build start|run|wait|stop`; answers in JSON on standard output."""

import argparse
import json
import sys
from pathlib import Path

from . import daemon
from .command import BuildError
from .plan import Inputs, Places
from .status import State


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Returns the exit status; errors are one line on standard error."""
    options = parser().parse_args(arguments)
    try:
        if options.command == "stop":
            return answer(stopped=daemon.stop(options.cache))
        places = Places(options.cache, options.digest)
        if options.command == "start":
            inputs = Inputs(sys.stdin.read(), options.source, options.requirements)
            return answer(started=daemon.start(places, inputs, options.go))
        if options.command == "run":
            return daemon.run(places, options.go)
        status = daemon.wait(places, options.program, options.seconds)
    except (BuildError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    failed = status.state in {State.FAILED, State.STOPPED}
    return answer(
        state=status.state,
        line=status.line(),
        message=status.message,
        log=str(places.log),
        log_tail=daemon.log_tail(places) if failed else [],
    )


def answer(**values: object) -> int:
    """Print an answer."""
    sys.stdout.write(f"{json.dumps(values)}\n")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    whole = argparse.ArgumentParser(prog="sandbox_build", description=__doc__)
    commands = whole.add_subparsers(dest="command", required=True)
    for name, purpose in {
        "start": "begin what the plan on standard input says, in the background, unless it runs or is done",
        "run": "build in this process",
        "wait": "tell how far the build is, or wait until a program is ready",
        "stop": "end every build below the cache",
    }.items():
        command = commands.add_parser(name, help=purpose)
        command.add_argument("--cache", type=Path, required=True, help="the sandbox's cache folder")
        if name == "stop":
            continue
        command.add_argument("--digest", required=True, help="names the folders of this build")
        if name == "start":
            command.add_argument("--source", type=Path, required=True, help="folder of the Go module")
            command.add_argument("--requirements", type=Path, required=True, help="locked requirements of Go")
        if name == "wait":
            command.add_argument("--program", action="append", default=[], help="wait for these only")
            command.add_argument("--seconds", type=float, default=0, help="the longest to wait")
        else:
            command.add_argument(
                "--go", type=Path, action="append", default=[], help="a Go to try before one is installed"
            )
    return whole


if __name__ == "__main__":
    sys.exit(main())
