"""The go command: how it is run, and what its failures mean."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from . import toolchain
from .plan import Places

HINTS = {
    "no space left on device": "The disk is full: free about 8 GB below {cache}.",
    "signal: killed": "Memory ran out: free some (the compiler needs about 2.5 GB) or add swap.",
    "dial tcp": "Go modules cannot be fetched: check the network, or name a module proxy in GOPROXY.",
    "checksum mismatch": "A fetched module is not the one of go.sum: remove {cache}/go/modules.",
}


class BuildError(Exception):
    """A go command failed; the message names the fix where one is known, and the log holds its words."""


class Go:
    """One Go, in the sandbox's own environment; what it says goes to the log."""

    def __init__(self, program: Path, places: Places, log: TextIO) -> None:
        """Take the go command to run, and where."""
        self.program, self.places, self.log = program, places, log
        self.environment = toolchain.environment(places)
        self._begin = log.tell()  # what earlier runs said explains nothing about this one

    def output(self, *arguments: str) -> str:
        """Run a command for its answer. Raises BuildError."""
        with self._process(arguments, stderr=self.log) as process:
            answer, _ = process.communicate()
        self._check(process, arguments)
        return answer.strip()

    def lines(self, *arguments: str) -> Iterator[str]:
        """Run a command and yield what it says; names of packages stay out of the log. Raises BuildError."""
        with self._process(arguments, stderr=subprocess.STDOUT) as process:
            assert process.stdout is not None  # noqa: S101  it is a pipe
            for line in process.stdout:
                if " " in line:
                    self.log.write(line)
                yield line.strip()
        self._check(process, arguments)

    def _process(self, arguments: tuple[str, ...], stderr: TextIO | int) -> "subprocess.Popen[str]":
        # It ends when this process does, even by SIGKILL: two compilers would need twice the memory.
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", self.program, *arguments],
            cwd=self.places.source,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    def _check(self, process: "subprocess.Popen[str]", arguments: tuple[str, ...]) -> None:
        if process.returncode:
            self.log.flush()
            said = self.places.log.read_bytes()[self._begin :].decode(errors="replace")
            hints = [text.format(cache=self.places.cache) for sign, text in HINTS.items() if sign in said]
            raise BuildError(" ".join([f"`go {arguments[0]}` failed with {process.returncode}.", *hints]))
