"""Finds phrases that read as translated, each with what to write instead. Code is skipped: only prose counts.

    python -m tests.repository.english [PATH…]
"""

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT

INSTEAD = {
    r"\b(is|are|was|were|be|been) told\b(?! (apart|from))": "the message says; is reported; raise",
    r"\b(is|are) known\b(?=\n|$)": "read the …; look up the … (in a task's name)",
    r"(?i)\b(mend|mends|mended|mending)\b": "fix",
    r"\b(broken|breaks?|broke) (it )?off\b": "interrupted",
    r"\b(put|puts|putting) by\b": "quarantined; moved to",
    r"\bsets? aside\b": "quarantined; moved to",
    # An alphabet's letters are letters.
    r"(?<!ead[ -])(?<!capital )(?<!case )(?<!with a )(?<!to \d\d )\bletters?\b(?!,? (and |or )?digits?|  )":
        "dead letter; queued message",
    r"\bWhat\b[^.:\n]*\bis (told|known|said)\b": "say it as a statement",
    r"\bmore to do than to\b": "a run is already in progress",
    r"\bis good for nothing\b": "is revoked",
    r"\bis no longer made\b": "is no longer rendered",
    r"\blet bite\b": "fires",
    r"\bnot to be had\b": "could not be read",
    r"\bbefore anything is done\b": "before anything is changed",
    r"\bwithout a message refused\b": "without rejecting a single message",
    r"\bthat there is none of\b": "unknown",
}
PHRASES = [(re.compile(phrase), instead) for phrase, instead in INSTEAD.items()]
SUFFIXES = {".py", ".md", ".yml", ".yaml", ".j2", ".tf", ".hcl", ".toml", ".cfg", ".sh", ".go"}
NOT_OURS = ("LICENSE", "tests/repository/", "requirements/", "sandbox/kubernetes/go.sum")


@dataclass(frozen=True)
class Finding:
    """Where a phrase is, and what to write instead."""

    path: Path
    line: int
    phrase: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: “{self.phrase}”: write “{self.instead}”"


def prose(path: Path, text: str) -> Iterator[tuple[int, str]]:
    """The lines that people read, without code: of Python its comments and strings."""
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and " " in token.string):
            yield from enumerate(token.string.splitlines(), token.start[0])


def findings(path: Path, text: str) -> Iterator[Finding]:
    """The phrases of a file."""
    for number, line in prose(path, text):
        words = re.sub(r"`[^`]*`|\{\{.*?\}\}|\{[^{}]*\}|\$\(.*?\)|\"\w+\"|https?://\S+", " ", line)
        is_name = re.match(r"\s*- name: ", line) is not None
        for phrase, instead in PHRASES:
            if "task's name" in instead and not is_name:
                continue
            if found := phrase.search(words):
                yield Finding(path, number, found[0], instead)


def files(names: list[str]) -> Iterator[Path]:
    """The repository's own files of prose and code, from the root."""
    listed = subprocess.run(["git", "ls-files", *names], cwd=ROOT, text=True, capture_output=True, check=True).stdout
    for name in listed.splitlines():
        path = Path(name)
        if (path.suffix in SUFFIXES or name == "Makefile") and not name.startswith(NOT_OURS) and (ROOT / path).exists():
            yield path


def main() -> int:
    """Print the findings; the exit status is 1 if there are any."""
    found = [each for path in files(sys.argv[1:]) for each in findings(path, (ROOT / path).read_text())]
    for each in found:
        print(each)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
