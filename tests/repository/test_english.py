"""The finder of outgrown phrases finds them in prose, and in prose alone."""

from pathlib import Path

import pytest

from tests.repository.english import findings

BAD = [
    ("a.md", "The reason is told."),
    ("a.md", "A letter is deleted."),
    ("a.md", "What to mend"),
    ("a.md", "It can be broken off and run again"),
    ("a.md", "16 things to fix before anything is done"),
    ("a.yml", "- name: Kubeconfig is known"),
    ("a.py", "# What each playbook is told\n"),
    ("a.py", '"""Files that were put by."""\n'),
]
GOOD = [
    ("a.md", "A dead letter is deleted; names have lower-case letters, digits and hyphens; `letter` is code."),
    ("a.yml", "name: '{{ letter }}'"),
    ("a.yml", "# an address that is known"),
    ("a.py", "letter = mend(letter)\n"),
    ("a.py", "counters['letter']\n"),
]


@pytest.mark.parametrize(("name", "text"), BAD)
def test_a_phrase_is_found(name: str, text: str) -> None:
    assert list(findings(Path(name), text))


@pytest.mark.parametrize(("name", "text"), GOOD)
def test_code_and_the_fields_own_words_pass(name: str, text: str) -> None:
    assert not list(findings(Path(name), text))
