"""Which of the two lines of Ansible this Python runs: the last one for 3.11, or the current one."""

import sys

from tests.support.paths import ROOT

CURRENT = sys.version_info >= (3, 12)
COLLECTIONS = ROOT / ("requirements-3.12.yml" if CURRENT else "requirements.yml")
