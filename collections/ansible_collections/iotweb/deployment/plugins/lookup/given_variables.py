# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: given_variables
version_added: 2.0.0
short_description: Options by which a nested run gets the variables that this one was given
description:
  - Returns what this command line has of C(--extra-vars), C(--vault-id) and C(--vault-password-file).
  - Files are named by their whole paths, so that the other run may start in another folder.
  - A password that was typed in is not among them.
author: IoT receiver contributors (@iotweb)
options: {}
"""

EXAMPLES = r"""
- name: See what another run would change
  ansible.builtin.command:
    argv: "{{ ['ansible-playbook', 'site.yml', '--check'] + query('iotweb.deployment.given_variables') }}"
"""

RETURN = r"""
_raw:
  description: The options, each one argument.
  type: list
  elements: str
"""

from pathlib import Path
from typing import Any

from ansible import context
from ansible.plugins.lookup import LookupBase

TYPED = ("prompt", "prompt_ask_vault_pass")


def whole(path: str) -> str:
    """A file's whole path."""
    return str(Path(path).expanduser().absolute())


class LookupModule(LookupBase):  # type: ignore[misc]  # ansible-core has no types
    """The lookup."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """Return the options."""
        given = context.CLIARGS
        extra = [f"@{whole(each[1:])}" if each.startswith("@") else each for each in given.get("extra_vars", ())]
        vaults = [each.rpartition("@") for each in given.get("vault_ids", ())]
        return [
            *(f"--extra-vars={each}" for each in extra),
            *(f"--vault-id={name}{at}{whole(source)}" for name, at, source in vaults if source not in TYPED),
            *(f"--vault-password-file={whole(each)}" for each in given.get("vault_password_files", ())),
        ]
