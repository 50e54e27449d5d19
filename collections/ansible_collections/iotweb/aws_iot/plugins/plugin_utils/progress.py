# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Shows the progress of what takes minutes, during which a module would print nothing. For action plugins."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

TIMED_OUT = 124  # exit code, as timeout(1) has it
POLL_SECONDS = 0.25


class Look(NamedTuple):
    """What one look found: lines to show, whether it was the last look, and then the result."""

    lines: Iterable[str] = ()
    done: bool = False
    result: Any = None


def follow(look: Callable[[float], Look], pause: float) -> Any:
    """Look until it is done, show each look's lines, and return the result.

    Args:
        look: Gets the seconds since the first look, and raises what ends the wait early.
        pause: Seconds between two looks.
    """
    display, began = Display(), time.monotonic()
    while True:
        found = look(time.monotonic() - began)
        for line in found.lines:
            display.display(line)
        if found.done:
            return found.result
        time.sleep(pause)


def environment_of(action: ActionBase) -> dict[str, str]:
    """Return the controller's environment with the task's `environment`, as a module would have it."""
    ours: dict[str, Any] = {}
    action._compute_environment_string(ours)
    return {**os.environ, **{name: str(value) for name, value in ours.items()}}


class Command:
    """A command in a session of its own, so that Ctrl-C does not reach it, whose output is followed in a file.

    Args:
        argv: The program and its arguments.
        chdir: The folder it runs in.
        environment: All of its environment.
        log: The file for its output, 0600.
        show: Regular expression of the lines to show.
        shorten: Makes the text to show of such a line.

    Raises:
        AnsibleActionFail: It cannot be started.
    """

    def __init__(
        self,
        argv: list[str],
        chdir: str,
        environment: dict[str, str],
        *,
        log: Path,
        show: str,
        shorten: Callable[[str], str] = str.strip,
    ) -> None:
        self._log, self._wanted, self._shorten = log, re.compile(show), shorten
        with log.open("wb") as sink:
            log.chmod(0o600)
            try:
                self._process = subprocess.Popen(
                    argv, cwd=chdir, env=environment, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT,
                    start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                raise AnsibleActionFail(f"{argv[0]} cannot be run: {error.strerror}") from error

    def followed(self, timeout: int = 0) -> tuple[int, str]:
        """Show its lines until it ends; return its exit code and all of its output.

        After the timeout in seconds (0: none) it is killed, and the exit code is 124.
        """
        with self._log.open(encoding="utf-8", errors="replace") as source:

            def look(passed: float) -> Look:
                code = self._process.poll()  # before reading, so that no last line is missed
                if code is None and timeout and passed > timeout:
                    self._process.kill()
                    code = TIMED_OUT
                lines = [f"  {self._shorten(line)}" for line in source if self._wanted.search(line)]
                return Look(lines, code is not None, code)

            code: int = follow(look, POLL_SECONDS)
        return code, self._log.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        """End it and all that it started, unless it has ended."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait()
