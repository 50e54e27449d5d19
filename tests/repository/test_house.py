"""What newcomers rely on: hooks that download nothing, and a changelog that names what they must change."""

import re
from pathlib import Path

import pytest
import yaml
from pathspec import GitIgnoreSpec

from tests.support.paths import ROOT


def test_hooks_are_the_locked_tools() -> None:
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert {repo["repo"] for repo in repos} == {"local"}
    assert {hook["language"] for repo in repos for hook in repo["hooks"]} == {"system"}


def test_ansible_lint_leaves_nothing_of_ansibles_out() -> None:
    entries = yaml.safe_load((ROOT / ".ansible-lint").read_text())["exclude_paths"]
    anchored = tuple(entry.removeprefix("./") for entry in entries if entry.startswith("./"))
    left_out = GitIgnoreSpec.from_lines(entries)
    ansibles = ("collections", "inventory", "playbooks", "roles", "sandbox/roles", "tests")
    files = [str(path.relative_to(ROOT)) for folder in ansibles for path in (ROOT / folder).rglob("*.yml")]
    files += [str(path.relative_to(ROOT)) for path in ROOT.glob("collections/**/plugins/**/*.py")]
    assert len(files) > 400
    assert [*left_out.match_files(files), *(file for file in files if file.startswith(anchored))] == []


def test_removed_variables_are_in_the_changelog() -> None:
    removed = yaml.safe_load((ROOT / "roles/preflight/vars/main/removed.yml").read_text())["__preflight_removed"]
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert removed
    assert {name for name in removed if f"`{name}`" not in changes} == set()


def test_the_whole_has_one_version() -> None:
    latest = re.search(r"^## ([\d.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert latest
    files = [ROOT / "service/pyproject.toml", ROOT / "device/pyproject.toml", ROOT / "service/iot_receiver/__init__.py",
             *ROOT.glob("collections/ansible_collections/iotweb/*/galaxy.yml")]
    versions = {str(path.relative_to(ROOT)): re.findall(
        r"^(?:__)?version(?:__)?(?: =|:) \"?([\d.]+)", path.read_text(), re.MULTILINE) for path in files}
    assert len(versions) == 5
    assert {path: version for path, version in versions.items() if version != [latest[1]]} == {}


@pytest.mark.parametrize("page", ["tests/deployment/test_rotation.py", "tests/soak/test_secret.py"])
def test_tasks_that_tests_interrupt_exist(page: str) -> None:
    steps = re.findall(r'^    "([A-Z][^"]+)": [\d.]+,$', (ROOT / page).read_text(), re.MULTILINE)
    names = {name for path in ROOT.glob("roles/*/tasks/*.yml")
             for name in re.findall(r"^\s*- name: (.+)$", path.read_text(), re.MULTILINE)}
    assert steps
    assert [step for step in steps if step not in names] == []


def test_the_workflow_calls_what_a_person_calls() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    for goal in ("make lint", "make unit", "make test"):
        assert any(goal in command for command in commands), goal


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "sandbox/README.md"],
                         ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    links = [page.parent / link for link in re.findall(r"\]\((?!https?:)([^)#]+)", text)]
    rooms = [ROOT / path for path in re.findall(
        r"`((?:roles|playbooks|tests|docs|terraform|service|device|sandbox|collections)/[\w./-]*)`", text)]
    before = page.name == "CHANGELOG.md"  # which names what has gone as well
    assert [str(path) for path in [*links, *([] if before else rooms)] if not path.exists()] == []
