"""playbooks/acceptance.yml of a deployment in which nothing answers: each fact has its line, and the run fails."""

from pathlib import Path

from tests.playbooks.runs import adopted, answering, run

ACCOUNT = "123456789012"


def test_what_fails_is_named_and_the_rest_is_gone_through(tmp_path: Path) -> None:
    with answering(ACCOUNT) as aws:
        aws.parameters = {}
        variables = adopted(aws, ACCOUNT, tmp_path) | {"acceptance_facts": [1, 2, 18]}
        done = run(tmp_path, "playbooks/acceptance.yml", variables=variables)
        assert aws.parameters == {}, "the lock is released"
    assert done.status != 0
    shown = done.output[done.output.index("Show the results]"):]
    assert "1 destination is confirmed failed: " in shown
    assert "2 a false token differs from a missing permission failed: " in shown
    assert "18 the bill is what preflight said only on AWS: the bill after 24 hours" in shown
    assert "2 of 2 checks failed: see the table." in shown
