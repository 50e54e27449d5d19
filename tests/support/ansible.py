"""Ansible's programs as a person in a checkout has them."""

import os
from pathlib import Path

from tests.support import forks
from tests.support.paths import ROOT


def environment(checkout: Path = ROOT, **more: str) -> dict[str, str]:
    """Programs are this checkout's; the settings are those of `checkout`, where make has named others.

    What is run with it shares one module server.
    """
    own = {"PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}", "ANSIBLE_CONFIG": f"{checkout}/ansible.cfg"}
    return os.environ | own | {"ANSIBLE_NOCOLOR": "1"} | forks.server(ROOT / ".venv") | more
