"""The wait for a record made at a DNS provider asks the zone's own servers, shows progress, and can be repeated."""

from pathlib import Path

import dns.message

from tests.playbooks.runs import Done, answering, filled, run
from tests.support.name_server import Zone, has, missing, serving
from tests.support.ports import free_port

ACCOUNT = "123456789012"
WANTED = "ingest.example.com CNAME lb.us-east-2.elb.amazonaws.com"


def created_after(queries: int) -> Zone:
    """A zone that gets its record after so many queries."""
    asked: list[dns.message.Message] = []

    def fill(response: dns.message.Message) -> None:
        asked.append(response)
        (missing if len(asked) <= queries else has("CNAME", "lb.us-east-2.elb.amazonaws.com."))(response)

    return fill


def test_a_run_waits_for_the_record_and_a_later_one_goes_on(tmp_path: Path) -> None:
    port = free_port()

    def wait(zone: Zone, seconds: int) -> Done:
        given = {"receiver_name_servers": [f"127.0.0.1:{port}"], "receiver_domain_timeout": seconds}
        with answering(ACCOUNT) as aws, serving("127.0.0.1", port, zone):
            return run(tmp_path, "tests/playbooks/domain_record.yml", variables=filled(aws, ACCOUNT, tmp_path) | given)

    done = wait(missing, 5)
    assert done.status != 0
    assert f"the run continues once the zone has it: {WANTED}" in done.output
    assert "After 5 s, there is no record of ingest.example.com yet: 127.0.0.1 answers NXDOMAIN" in done.output
    assert f"run this again, which goes on here: {WANTED}" in done.output
    done = wait(created_after(2), 60)
    assert "Wait until the domain's own name servers have its record (12 retries left)" in done.output
    assert done.status == 0, done.output
    done = wait(created_after(0), 60)
    assert done.status == 0, done.output
    assert "Create this record" not in done.output
