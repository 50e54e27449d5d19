"""What is to be compiled, and where it goes. Role program_builds writes the plan from its vars/main.yml."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class Program:
    """A command: `package` is a Go import path, `variables` are what its own release sets at link time.

    `tags` choose among its files. `generated` are files, by module and path, that its release makes by other tools than
    Go and that its module therefore lacks.
    """

    name: str
    title: str
    package: str
    variables: dict[str, str]
    links: tuple[str, ...] = ()
    tags: str = ""
    generated: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Image:
    """A container image with one program in it, at `path`; `user` is "uid:gid", or empty for root."""

    name: str
    reference: str
    program: str
    path: str
    user: str = ""


@dataclass(frozen=True)
class Chart:
    """The Helm chart of a program, which lies in a Go module's folder `path`; `version` is its appVersion.

    `crds` is the module's folder of CRDs, where the chart itself has none.
    """

    name: str
    program: str
    module: str
    path: str
    version: str
    crds: str = ""


@dataclass(frozen=True)
class Plan:
    """Everything one digest stands for, programs in the order in which they are compiled.

    `link` is the name under which the newest digest of its kind is found; `niceness` says how much the build gives way.
    """

    programs: tuple[Program, ...]
    images: tuple[Image, ...]
    charts: tuple[Chart, ...]
    link: str = "current"
    niceness: int = 5

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read what role program_builds wrote. Raises OSError, ValueError or TypeError when it is not that."""
        return cls.parse(json.loads(file.read_text()))

    @classmethod
    def parse(cls, plan: dict[str, Any]) -> Self:
        """Make a plan of its JSON form. Raises KeyError or TypeError naming what is missing or unknown."""
        programs = [{**item, "links": tuple(item.get("links", ()))} for item in plan["programs"]]
        return cls(
            programs=tuple(Program(**item) for item in programs),
            images=tuple(Image(**item) for item in plan["images"]),
            charts=tuple(Chart(**item) for item in plan["charts"]),
            **{name: plan[name] for name in ("link", "niceness") if name in plan},
        )

    def images_of(self, program: str) -> list[Image]:
        """Return the images that hold a program."""
        return [image for image in self.images if image.program == program]

    def charts_of(self, program: str) -> list[Chart]:
        """Return the charts that install a program."""
        return [chart for chart in self.charts if chart.program == program]


@dataclass(frozen=True)
class Inputs:
    """What goes into a build, and stays as it was then: the checkout may change, or go, in the meantime."""

    plan: str
    source: Path
    requirements: Path

    def copy_to(self, places: "Places") -> None:
        """Put them, and this package, where the build works. Raises ValueError, KeyError or TypeError for no plan."""
        Plan.parse(json.loads(self.plan))
        places.work.mkdir(parents=True, exist_ok=True)
        for folder, copy in ((self.source, places.source), (Path(__file__).parent, places.package)):
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copyfile(self.requirements, places.requirements)
        places.plan.write_text(self.plan)


@dataclass(frozen=True)
class Places:
    """The folders of one digest below the sandbox's cache. The Go caches are shared by all digests."""

    cache: Path
    digest: str

    @property
    def programs(self) -> Path:
        """Compiled programs, and the names they are called by."""
        return self.cache / "bin" / self.digest

    @property
    def images(self) -> Path:
        """Image archives, one a file, as `docker save` writes them."""
        return self.cache / "images" / self.digest

    @property
    def charts(self) -> Path:
        """Helm charts, one a folder."""
        return self.cache / "charts" / self.digest

    @property
    def work(self) -> Path:
        """Plan, sources, this package, log, status and lock of the build."""
        return self.cache / "build" / self.digest

    @property
    def source(self) -> Path:
        """The Go module."""
        return self.work / "source"

    @property
    def package(self) -> Path:
        """The copy of this package that runs."""
        return self.work / "sandbox_build"

    @property
    def plan(self) -> Path:
        """The plan, in JSON."""
        return self.work / "plan.json"

    @property
    def status(self) -> Path:
        """How far the build is."""
        return self.work / "status.json"

    @property
    def scratch(self) -> Path:
        """Temporary files of the compiler; /tmp may be memory, and a link takes hundreds of MiB of it."""
        return self.work / "tmp"

    @property
    def completed(self) -> Path:
        """Modules with the files that they lack."""
        return self.work / "completed"

    @property
    def requirements(self) -> Path:
        """What pip installs when there is no Go that is new enough."""
        return self.work / "requirements.txt"

    @property
    def log(self) -> Path:
        """Everything the compiler said."""
        return self.work / "build.log"

    @property
    def complete(self) -> Path:
        """There once nothing is left to do."""
        return self.programs / ".complete"

    @property
    def go(self) -> Path:
        """Go's module and build caches: the sandbox's own, never the user's."""
        return self.cache / "go"

    def image(self, image: Image) -> Path:
        """Return an image's archive."""
        return self.images / f"{image.name}.tar"

    def ready(self, names: list[str]) -> bool:
        """Say whether programs are there with their links, images and charts. Raises KeyError for unknown ones."""
        plan = Plan.read(self.plan)
        wanted = [{program.name: program for program in plan.programs}[name] for name in names]
        files = [self.programs / name for program in wanted for name in (program.name, *program.links)]
        files += [self.image(image) for name in names for image in plan.images_of(name)]
        files += [self.charts / chart.name for name in names for chart in plan.charts_of(name)]
        return all(file.exists() for file in files)
