"""An operator's rights are those that were seen in use, and those that were not, for a reason."""

import json

from tests.support.operator import CALLS, UNSEEN, allowed, unseen


def test_each_right_was_used_or_is_explained() -> None:
    seen = set(json.loads(CALLS.read_text()))
    assert seen - allowed() == set(), "used, but not allowed by docs/operator-policy-*.json"
    assert allowed() - seen - unseen() == set(), "allowed, but neither used nor explained"


def test_what_is_explained_is_allowed_was_not_used_and_has_one_reason() -> None:
    assert unseen() - allowed() == set()
    assert unseen() & set(json.loads(CALLS.read_text())) == set()
    assert sum(map(len, UNSEEN.values())) == len(unseen())
