"""The table of policies that the broker's plugin reads; ``plugin/policies.c`` describes its lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from iot_sandbox.broker.policy import Connection, Rule, Thing, rules


@dataclass(frozen=True, slots=True)
class Certificate:
    """An active certificate (id: SHA-256 of its DER in hex), policies (JSON) and things attached to it.

    ``group_documents`` are the policies of thing groups, by the group's ARN.
    """

    id: str
    documents: tuple[str, ...] = ()
    things: Mapping[str, Thing] = field(default_factory=dict)
    group_documents: Mapping[str, Sequence[str]] = field(default_factory=dict)


def render(certificates: Iterable[Certificate], arn_prefix: str) -> str:
    """The table's text; ``arn_prefix`` starts every IoT ARN: ``arn:aws:iot:<region>:<account>:``."""
    lines = ["iot-policies 1", f"prefix\t{arn_prefix}"]
    for certificate in sorted(certificates, key=lambda c: c.id):
        lines.append(f"certificate\t{certificate.id}")
        for name, thing in sorted(certificate.things.items()):
            lines.append(f"client\t{name}")
            of_groups = [text for group in thing.groups for text in certificate.group_documents.get(group, ())]
            documents = (*certificate.documents, *of_groups)
            lines.extend(map(_line, rules(documents, Connection(certificate.id, thing))))
        lines.append("client")
        lines.extend(map(_line, rules(certificate.documents, Connection(certificate.id))))
    return "\n".join(lines) + "\n"


def _line(rule: Rule) -> str:
    effect = ("deny" if rule.deny else "allow") + ("-outside" if rule.outside else "")
    return f"{effect}\t{rule.actions}\t{rule.pattern}"


def write(path: Path, text: str) -> bool:
    """Replaces the table in one step; returns whether it changed."""
    if path.exists() and path.read_text() == text:
        return False
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.replace(path)
    return True
