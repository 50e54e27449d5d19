"""What a run hands to another one that it starts."""

from pathlib import Path

import pytest
from ansible import context
from ansible.utils.context_objects import CLIArgs
from ansible_collections.iotweb.deployment.plugins.lookup.given_variables import LookupModule


def test_what_was_given_is_handed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    given = {
        "extra_vars": ("@more.yml", "deployment_name=staging", '{"acceptance_facts": [12]}', "@/etc/own.yml"),
        "vault_ids": ("prod@password", "bare", "dev@prompt"),
        "vault_password_files": ("password",),
    }
    monkeypatch.setattr(context, "CLIARGS", CLIArgs(given))
    assert LookupModule().run([]) == [
        f"--extra-vars=@{tmp_path}/more.yml",
        "--extra-vars=deployment_name=staging",
        '--extra-vars={"acceptance_facts": [12]}',
        "--extra-vars=@/etc/own.yml",
        f"--vault-id=prod@{tmp_path}/password",
        f"--vault-id={tmp_path}/bare",
        f"--vault-password-file={tmp_path}/password",
    ]


def test_nothing_is_handed_on_where_nothing_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "CLIARGS", CLIArgs({"args": ("site.yml",)}))
    assert LookupModule().run([]) == []
