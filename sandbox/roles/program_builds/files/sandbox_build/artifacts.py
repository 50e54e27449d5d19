"""What is made of compiled programs and fetched modules: names, charts; and what is no longer needed."""

import shutil
from pathlib import Path

from .plan import Chart, Places, Program

KEPT = 1  # digest besides those in use: what was before, for a way back without compiling


def link(file: Path, target: str) -> None:
    """Make a symbolic link, or point an existing one elsewhere, in one step."""
    fresh = file.with_name(f".{file.name}.link")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(file)


def name_program(places: Places, program: Program) -> None:
    """Give a program the other names it is called by."""
    for name in program.links:
        link(places.programs / name, program.name)


def copy_chart(places: Places, chart: Chart, module: Path) -> None:
    """Copy a chart out of its module's folder. Raises ValueError when it is another version's."""
    source = module / chart.path
    said = (source / "Chart.yaml").read_text()
    if f"\nappVersion: {chart.version}\n" not in said:
        raise ValueError(f"{source}/Chart.yaml is not for {chart.version}: correct vars/main.yml")
    target, fresh = places.charts / chart.name, places.charts / f".{chart.name}.new"
    if target.exists():
        return
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(source, fresh)
    if chart.crds:
        shutil.copytree(module / chart.crds, fresh / "crds")
    fresh.replace(target)


def make_current(places: Places, name: str) -> None:
    """Point the links of a name at this digest's folders."""
    for folder in (places.programs, places.images, places.charts):
        link(folder.parent / name, folder.name)


def complete(places: Places, program: Program, modules: dict[str, Path]) -> list[str]:
    """Give modules the files that they lack, and return the arguments by which go takes those modules.

    `modules` are their folders by name. Go's cache itself must stay as it was fetched.
    """
    if not program.generated:
        return []
    replaced = []
    for number, (module, files) in enumerate(program.generated.items()):
        copy = places.completed / f"{program.name}-{number}"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(modules[module], copy)
        for name, content in files.items():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_text(content)
        replaced.append(f"replace {module} => {copy}\n")
    file = places.completed / f"{program.name}.mod"
    file.write_text((places.source / "go.mod").read_text() + "".join(replaced))
    shutil.copyfile(places.source / "go.sum", file.with_suffix(".sum"))
    return [f"-modfile={file}"]


def prune(cache: Path, keep: set[str]) -> None:
    """Remove the digests that are neither in `keep`, nor in use under a name that stays, nor the newest other."""
    used = keep | {file.readlink().name for file in (cache / "bin").glob("*") if file.is_symlink()}
    by_age = sorted((cache / "build").glob("*/"), key=lambda work: work.stat().st_mtime, reverse=True)
    kept = {*used, *[work.name for work in by_age if work.name not in used][:KEPT]}
    for folder in cache.glob("*/"):
        if folder.name not in {"bin", "build", "charts", "images"}:
            continue
        for old in folder.glob("*/"):
            if old.name not in kept and not old.is_symlink():
                shutil.rmtree(old)
