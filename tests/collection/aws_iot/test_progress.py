"""How actions show the progress of what takes minutes."""

import os
import sys
from pathlib import Path

import pytest
from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display
from ansible_collections.iotweb.aws_iot.plugins.plugin_utils.progress import TIMED_OUT, Command, Look, follow


@pytest.fixture(name="shown")
def _shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that Ansible displayed."""
    lines: list[str] = []
    monkeypatch.setattr(Display, "display", lambda _self, line: lines.append(line))
    return lines


def command(folder: Path, program: str, show: str = "(?!)") -> Command:
    """A Python program whose output goes to a file of the folder."""
    argv = [sys.executable, "-u", "-c", program]
    return Command(argv, str(folder), dict(os.environ), log=folder / "log", show=show)


def test_every_look_shows_its_lines_and_the_last_has_the_result(shown: list[str]) -> None:
    looks = iter([Look(["a"]), Look(), Look(["b", "c"], True, 7)])
    assert follow(lambda passed: next(looks), pause=0) == 7
    assert shown == ["a", "b", "c"]


def test_a_commands_matching_lines_are_shown_and_all_are_kept(tmp_path: Path, shown: list[str]) -> None:
    program = "import sys; print('step 1'); print('noise', file=sys.stderr); print('step 2'); sys.exit(3)"
    assert command(tmp_path, program, "^step").followed() == (3, "step 1\nnoise\nstep 2\n")
    assert shown == ["  step 1", "  step 2"]
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_a_command_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    code, output = command(tmp_path, "import time; print('begun'); time.sleep(600)").followed(timeout=2)
    assert (code, output) == (TIMED_OUT, "begun\n")


def test_what_a_command_started_ends_with_it(tmp_path: Path) -> None:
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    running = command(tmp_path, program)
    running.stop()
    assert running.followed()[0] != 0


def test_a_program_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnsibleActionFail, match="no-such-program cannot be run: No such file"):
        Command(["no-such-program"], str(tmp_path), {}, log=tmp_path / "log", show="")
