"""The import graph of every Python package here: without a circle, and without an arrow back up.

Packages stand in layers, and import only from layers below their own:

    service/iot_receiver    redrive and __main__ over the rest; of that, __main__ → app → ingest and exposition →
                            keys → the parts (store, dead letters, confirmation, …) → messages → rows and
                            measurements → times and numbers
    service/iot_readings    beside iot_receiver, whose modules it may use, and not the other way round
    device/iot_device       alone
    sandbox/iot_sandbox     alone: it stands for AWS, so it knows nothing of what it is used by; its programs aws,
                            rules, broker and load_balancer → shared, and none imports another
    collections/…           modules and plugins → module_utils; iotweb.deployment may use iotweb.aws_iot, not vice versa

Imports inside functions count like any other; those for annotations alone (`if TYPE_CHECKING`) don't.
"""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.support.paths import ROOT

ROOTS = ("service", "device", "sandbox", "collections")
SANDBOX_PROGRAMS = ("aws", "rules", "broker", "load_balancer")
# Prefixes of modules, each with those that it must not import: the arrows back up.
FORBIDDEN = {
    "iot_receiver": ("iot_readings", "iot_device", "iot_sandbox"),
    "iot_receiver.keys": ("iot_receiver.app", "iot_receiver.ingest", "iot_receiver.redrive", "iot_receiver.exposition"),
    "iot_receiver.messages": ("iot_receiver.dynamodb", "iot_receiver.store", "iot_receiver.dead_letters"),
    "iot_receiver.store": ("iot_receiver.messages", "iot_receiver.ingest"),
    "iot_receiver.metrics": ("iot_receiver.",),
    "iot_receiver.times": ("iot_receiver.messages", "iot_receiver.settings"),
    "iot_device": ("iot_receiver", "iot_readings", "iot_sandbox"),
    "iot_sandbox": ("iot_receiver", "iot_readings", "iot_device"),
    **{f"iot_sandbox.{name}": tuple(f"iot_sandbox.{other}" for other in SANDBOX_PROGRAMS if other != name)
       for name in (*SANDBOX_PROGRAMS, "shared")},
    "ansible_collections": ("iot_receiver", "iot_readings", "iot_device", "iot_sandbox"),
    "ansible_collections.iotweb.aws_iot": ("ansible_collections.iotweb.deployment",),
}
# Only these may import the redrive: the receiver has no use for it.
REDRIVE_USERS = ("iot_receiver.__main__", "iot_receiver.redrive")


def modules() -> dict[str, Path]:
    """Every module below the roots, by its full name."""
    found: dict[str, Path] = {}
    for root in ROOTS:
        for path in sorted((ROOT / root).rglob("*.py")):
            parts = path.relative_to(ROOT / root).with_suffix("").parts
            if "build" in parts or "files" in parts or parts[0] == "roles":
                continue  # scripts of roles: each stands alone
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(name: str, path: Path) -> Iterator[str]:
    """The names that a module imports, absolute."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in _without_annotations(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _without_annotations(tree: ast.AST) -> Iterator[ast.AST]:
    if isinstance(tree, ast.If) and isinstance(tree.test, ast.Name) and tree.test.id == "TYPE_CHECKING":
        return
    yield tree
    for child in ast.iter_child_nodes(tree):
        yield from _without_annotations(child)


def graph(known: dict[str, Path]) -> dict[str, set[str]]:
    """Which of our modules each imports."""
    arrows: dict[str, set[str]] = {}
    for name, path in known.items():
        targets = {_module(each, known) for each in imported(name, path)}
        arrows[name] = {target for target in targets if target not in {"", name}}
    return arrows


def _module(imported_name: str, known: dict[str, Path]) -> str:
    """Ours that an imported name is, or is in; else empty."""
    return next((each for each in (imported_name, imported_name.rpartition(".")[0]) if each in known), "")


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """One circle of the graph, or nothing."""
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return [str(each) for each in error.args[1]]
    return []


def back_up(arrows: dict[str, set[str]]) -> list[str]:
    """Every arrow that leads back up."""

    def within(name: str, prefix: str) -> bool:
        return name == prefix.rstrip(".") or name.startswith(prefix.rstrip(".") + ".")

    wrong = [
        f"{name} → {target}"
        for prefix, above in FORBIDDEN.items()
        for name in arrows
        if within(name, prefix)
        for target in arrows[name]
        if any(within(target, each) for each in above)
    ]
    return wrong + [
        f"{name} → {target}"
        for name, targets in arrows.items()
        if not any(within(name, user) for user in REDRIVE_USERS)
        for target in targets
        if within(target, "iot_receiver.redrive")
    ]


@pytest.fixture(scope="module")
def arrows() -> dict[str, set[str]]:
    return graph(modules())


def test_every_package_is_looked_at(arrows: dict[str, set[str]]) -> None:
    assert {name.partition(".")[0] for name in arrows} >= {
        "iot_receiver",
        "iot_device",
        "iot_sandbox",
        "ansible_collections",
    }
    assert "iot_receiver.store" in arrows["iot_receiver.app"]


def test_there_is_no_circle(arrows: dict[str, set[str]]) -> None:
    assert circle(arrows) == []


def test_no_arrow_leads_back_up(arrows: dict[str, set[str]]) -> None:
    assert back_up(arrows) == []


def test_circles_and_arrows_back_up_are_found(arrows: dict[str, set[str]]) -> None:
    bent = arrows | {"iot_receiver.numbers": {"iot_receiver.app"}, "iot_receiver.times": {"iot_receiver.settings"}}
    assert circle(bent)
    assert "iot_receiver.times → iot_receiver.settings" in back_up(bent)
    assert back_up({"iot_receiver.app": {"iot_receiver.redrive.run"}}) == [
        "iot_receiver.app → iot_receiver.redrive.run"
    ]
