"""Runs ansible-playbook in forks of a process that has imported it: importing it takes half of a short run's time.

Where plugins are looked for is fixed when that process starts: `env` may not set ANSIBLE_LIBRARY or other such paths.
"""

import subprocess
from collections.abc import Mapping
from typing import Any

from tests.support import forks
from tests.support.paths import ROOT

VENV = ROOT / ".venv"
PYTHON = VENV / "bin/python"
PROGRAM = """\
import importlib, os, sys
from ansible import constants
from ansible.cli.playbook import main
importlib.reload(constants)  # the server has read them for itself
sys.argv = {arguments!r}
os.environ.update({modules!r})
main()
"""


def run(*arguments: str, env: Mapping[str, str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook in the root to its end, as `subprocess.run` would."""
    program = PROGRAM.format(arguments=["ansible-playbook", *arguments], modules=forks.server(VENV))
    environment = {**env, **forks.server(VENV, ("ansible.cli.playbook",))}
    return subprocess.run([PYTHON], input=program, env=environment, cwd=ROOT, text=True, check=False, **options)
