"""`iot-readings` as a person or a script uses it."""

import asyncio
import json
import sys
from dataclasses import dataclass

import pytest

from tests.readings.harness import Readings, iso, ledger, now, row, store
from tests.service.harness import Table
from tests.support.paths import ROOT

PROGRAM = [sys.executable, "-m", "iot_readings.cli"]


@dataclass
class Result:
    """How a command ended, and what it wrote."""

    status: int
    output: str
    error: str


async def started(readings: Readings, *arguments: str, url: str = "") -> asyncio.subprocess.Process:
    address = url or str(readings.client.make_url("/"))
    return await asyncio.create_subprocess_exec(
        *PROGRAM, f"--url={address}", *arguments, cwd=ROOT / "service",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def run(readings: Readings, *arguments: str, url: str = "") -> Result:
    process = await started(readings, *arguments, url=url)
    output, error = await process.communicate()
    assert process.returncode is not None
    return Result(process.returncode, output.decode(), error.decode())


async def test_devices_are_aligned(readings: Readings, table: Table) -> None:
    store(table, ledger("d1", 20, start=now() - 20_000))
    result = await run(readings, "devices")
    head, *lines = result.output.splitlines()
    assert (result.status, result.error, head.split()) == (0, "", ["DEVICE", "STATE", "LAST", "SEEN", "VALUES"])
    by_name = {line.split()[0]: line for line in lines}
    assert sorted(by_name) == ["d1", "d2", "d3"]
    assert by_name["d1"].index("live") == by_name["d2"].index("never") == head.index("STATE")
    result = await run(readings, "--json", "devices", "--search", "d2")
    assert json.loads(result.output)["state"] == "never"


async def test_latest_query_and_csv(readings: Readings, table: Table) -> None:
    start = now() - 3_570_000
    rows = ledger("d1", 60, every_ms=60_000, start=start)
    store(table, rows)
    newest = rows[-1]["temperature"]["N"]
    result = await run(readings, "latest", "d1")
    assert result.output.splitlines()[:2] == ["device       d1", f"temperature  {newest}"]
    result = await run(readings, "query", "d1", "--since", "30m")
    lines = result.output.splitlines()
    assert lines[0] == "TIME                      temperature"
    assert lines[1] == f"{iso(start + 59 * 60_000)} {newest.rjust(12)}"
    assert len(lines) == 31
    result = await run(readings, "--json", "query", "d1", "--since", iso(start), "--until", iso(start + 120_000))
    assert [json.loads(line)["messageId"] for line in result.output.splitlines()] == ["m1", "m0"]
    result = await run(readings, "query", "d1", "--since", "2h", "--step", "1d")
    assert result.output.split()[:7] == ["TIME", "temperature", "min", "temperature", "mean", "temperature", "max"]
    result = await run(readings, "csv", "d1", "--since", "2h")
    answer = await readings.get("/v1/devices/d1/readings", accept="text/csv")
    assert result.output.encode() == await answer.read()


async def test_tail_prints_as_readings_arrive(readings: Readings, table: Table) -> None:
    process = await started(readings, "tail", "d1")
    assert process.stdout is not None
    task = asyncio.create_task(process.stdout.readline())
    async with asyncio.timeout(40):
        while not task.done():
            store(table, [row("d1", now(), "21.5", f"m{now()}")])
            await asyncio.sleep(0.5)
    line = (await task).decode().split()
    assert line[1:] == ["d1", "temperature", "21.5"]
    process.terminate()
    await process.communicate()


async def test_what_cannot_be_printed_is_escaped(readings: Readings, table: Table) -> None:
    hostile = "d\x1b[31m\n"
    store(table, [row(hostile, now(), "1")])
    result = await run(readings, "latest", hostile)
    assert "\x1b" not in result.output
    assert "d\\x1b[31m\\n" in result.output


@pytest.mark.parametrize(
    ("arguments", "status", "part"),
    [
        (["latest", "nobody"], 1, "there is no device 'nobody'"),
        (["latest", "d1"], 1, "has sent no reading yet"),
        (["query", "d1", "--since", "yesterday"], 1, "from must be a time"),
        (["query"], 2, "the following arguments are required: device"),
        ([], 2, "COMMAND"),
    ],
)
async def test_exit_status_says_what_went_wrong(
    readings: Readings, arguments: list[str], status: int, part: str
) -> None:
    result = await run(readings, *arguments)
    assert (result.status, result.output) == (status, "")
    assert part in result.error


async def test_no_answer_is_3(readings: Readings) -> None:
    result = await run(readings, "devices", url="http://127.0.0.1:9")
    assert result.status == 3
    assert "does not answer" in result.error
    assert "--url" in result.error
    assert (await run(readings, "devices", url="localhost")).status == 2
