"""How far a build is: one small file, replaced whole, that any number of readers may look at."""

import json
import os
import time
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

TITLE_WIDTH = 26  # the longest title and two spaces
WORK_WIDTH = 26


class State(StrEnum):
    """What a build is doing."""

    RUNNING = "running"
    READY = "ready"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass
class Status:
    """One look at a build. `started` is in seconds since 1970."""

    state: State = State.RUNNING
    title: str = "Sandbox's programs"
    work: str = "starting"
    message: str = ""
    started: float = field(default_factory=time.time)

    def line(self, now: float | None = None) -> str:
        """Say it in one line whose columns stay in place from one line to the next."""
        seconds = (time.time() if now is None else now) - self.started
        return f"{self.title:<{TITLE_WIDTH}}{self.work:<{WORK_WIDTH}}{duration(seconds):>11}"

    def write(self, file: Path) -> None:
        """Replace the file: a reader sees the old or the new status, never half of one."""
        fresh = file.with_name(f".{file.name}.{os.getpid()}")
        fresh.write_text(json.dumps(asdict(self)))
        fresh.replace(file)

    @classmethod
    def read(cls, file: Path) -> "Status":
        """Read the last status; without one, the build has just begun."""
        try:
            found = json.loads(file.read_text())
        except FileNotFoundError:
            return cls()
        return cls(**{**found, "state": State(found["state"])})


def duration(seconds: float) -> str:
    """Write a time as "3 min 05 s"."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
