"""The build itself: each program in turn, its images right after it, charts at the end."""

import resource
import time
from concurrent import futures
from pathlib import Path
from typing import TextIO

from . import artifacts, images, toolchain
from .command import BuildError, Go
from .plan import Places, Plan, Program
from .status import State, Status, duration

# Debugging information is never linked in: not making it saves a quarter of time, memory and cache. Inlining would take
# a fifth more time, and most of what programs gain by it is in Go's own library.
LIGHT = ("-gcflags=all=-dwarf=false -l", "-gcflags=std=-dwarf=false", "-ldflags")
FETCH_PAUSES = (2, 5)  # seconds: go itself gives up at the first connection that breaks
REPORT_EVERY = 1.0  # seconds


class Build:
    """One run over a plan. What an earlier run left whole is kept, nothing half-made has its final name."""

    def __init__(self, plan: Plan, places: Places, log: TextIO) -> None:
        """Take what to build, where, and the log of what is said."""
        self.plan, self.places, self.log = plan, places, log
        self.status = Status()
        self.fetched = 0  # modules
        self._reported = 0.0

    def run(self, candidates: list[Path]) -> None:
        """Make all there is to make, with the first Go that will do. Raises BuildError or ToolchainError."""
        places = self.places
        for folder in (places.programs, places.images, places.charts, places.scratch, places.completed):
            folder.mkdir(parents=True, exist_ok=True)
        go = Go(self.find_go(candidates), self.places, self.log)
        # Listing a program's packages fetches its modules: the next programs' while the first compiles.
        with futures.ThreadPoolExecutor(max_workers=1) as lister:
            listed = [lister.submit(self.list_packages, go, program) for program in self.plan.programs]
            try:
                for program, packages in zip(self.plan.programs, listed, strict=True):
                    self.make(go, program, packages)
            finally:
                lister.shutdown(cancel_futures=True)
        artifacts.make_current(self.places, self.plan.link)
        self.places.complete.touch()
        self.report(State.READY, work="ready")

    def find_go(self, candidates: list[Path]) -> Path:
        """Return a Go that is new enough for the module, installed if need be."""
        needed = toolchain.needed_version((self.places.source / "go.mod").read_text())
        go = toolchain.choose([*candidates, toolchain.installed(self.places)], needed)
        if go is None:
            self.report(work="fetching Go")
            go = toolchain.install(self.places, self.log)
        version = ".".join(map(str, toolchain.version(go)))
        self.say(f"Go {version} from {go} compiles")
        return go

    def make(self, go: Go, program: Program, listed: "futures.Future[list[str]]") -> None:
        """Compile a program unless it is there, and make what hangs on it."""
        started, spent = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        self.report(title=program.title, work="fetching modules")
        target = self.places.programs / program.name
        if not target.exists():
            self.compile(go, program, self.wait_for(listed), target)
        artifacts.name_program(self.places, program)
        for image in self.plan.images_of(program.name):
            if not self.places.image(image).exists():
                images.write(image, target, self.places.image(image), images.architecture())
        for chart in self.plan.charts_of(program.name):
            go.output("mod", "download", chart.module)
            module = go.output("list", "-m", "-f", "{{.Dir}}", chart.module)
            artifacts.copy_chart(self.places, chart, Path(module))
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = used.ru_utime + used.ru_stime - spent.ru_utime - spent.ru_stime
        took = duration(time.monotonic() - started)
        largest = used.ru_maxrss // 1024
        self.say(f"{program.title}: {took}, {duration(cpu)} of CPU, largest process so far {largest} MiB")

    def wait_for(self, listed: "futures.Future[list[str]]") -> list[str]:
        """Return a program's packages once its modules are fetched, and tell how many are so far."""
        while not listed.done():
            futures.wait([listed], timeout=REPORT_EVERY)
            self.report(work=f"{self.fetched:>5,} modules fetched")
        return listed.result()

    def list_packages(self, go: Go, program: Program) -> list[str]:
        """Return the import paths that a program is made of, itself last; fetches their modules."""
        for pause in FETCH_PAUSES:
            try:
                return self.list_once(go, program)
            except BuildError:
                self.say(f"{program.title}: modules are fetched again in {pause} s")
                time.sleep(pause)
        return self.list_once(go, program)

    def list_once(self, go: Go, program: Program) -> list[str]:
        """Try that once. Raises BuildError."""
        packages = []
        for line in go.lines("list", "-deps", *self.choices(go, program), program.package):
            if line.startswith("go: downloading"):
                self.fetched += 1
            else:
                packages.append(line)
        return packages

    def choices(self, go: Go, program: Program) -> list[str]:
        """Return the arguments that say which files a program is made of."""
        modules = {}
        for module in program.generated:
            go.output("mod", "download", module)
            modules[module] = Path(go.output("list", "-m", "-f", "{{.Dir}}", module))
        tags = [f"-tags={program.tags}"] if program.tags else []
        return [*tags, *artifacts.complete(self.places, program, modules)]

    def compile(self, go: Go, program: Program, packages: list[str], target: Path) -> None:
        """Compile and link into place in one step; counts packages as the compiler names them."""
        variables = " ".join(f"-X {name}={value}" for name, value in sorted(program.variables.items()))
        fresh = target.with_name(f".{target.name}.new")
        flags = ["-v", "-p", str(toolchain.jobs()), *LIGHT, f"-s -w {variables}", "-o", str(fresh)]
        wanted = set(packages)
        with (self.places.work / "compiled").open("a+", buffering=1) as record:
            record.seek(0)
            done = wanted & set(record.read().split())
            self.report(work=f"{len(done):>5,} of {len(wanted):,} packages" if done else "comparing with the cache")
            for line in go.lines("build", *self.choices(go, program), *flags, program.package):
                if line in wanted:
                    done.add(line)
                    record.write(f"{line}\n")
                last = line == packages[-1]
                if last or time.monotonic() - self._reported >= REPORT_EVERY:
                    self.report(work="linking" if last else f"{len(done):>5,} of {len(wanted):,} packages")
        fresh.replace(target)

    def say(self, line: str) -> None:
        """Add a line of our own to the log."""
        self.log.write(f"# {line}\n")

    def report(self, state: State = State.RUNNING, **changes: str) -> None:
        """Write the status: `title`, `work` or `message` change."""
        self._reported = time.monotonic()
        self.status.state = state
        for name, value in changes.items():
            setattr(self.status, name, value)
        self.status.write(self.places.status)
