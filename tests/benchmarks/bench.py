"""Measures what the receiver costs, beside the stack it replaces and a server in Go: `make bench`.

All three stand before the same stub with DynamoDB's latency and do the same work, one after another in
each round, so that whatever else the machine does hits them alike. A server has a core of its own; the
load and the stub share another. What counts is CPU time for a thousand messages, and each ratio is the
median of the rounds' own ratios.

The receiver and the server in Go get what the rule sends now, payloads in envelopes, and ten of them in a request where
the rule gathers that many. The old stack gets the plain readings of its own rule; ten in a request as well, although
its rule sends each by itself, which costs it half as much again.

    python -m tests.benchmarks.bench [--rounds 5] [--seconds 5] [--output build/benchmark.json]
"""

import argparse
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.support.paths import ROOT

HERE = Path(__file__).resolve().parent
SECRET = "benchmark-0123456789"
STUB, OURS, ORIGINAL, GO = 28_120, 28_121, 28_122, 28_123  # ports
CONNECTIONS = 5_000  # of which memory is measured

Round = dict[str, dict[str, dict[str, float]]]  # workload → server → figures


@dataclass(frozen=True)
class Server:
    """A server under test."""

    name: str
    port: int
    process: "subprocess.Popen[bytes]"

    def cpu(self) -> float:
        """CPU time used so far by all its threads, in seconds."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self) -> float:
        """Its memory, in MiB."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1_048_576


def main() -> None:
    """Measure, print the table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "benchmark.json")
    parser.add_argument("--original-python", type=Path, default=ROOT / "build/venv/benchmark/bin/python")
    parser.add_argument("--receiver-python", type=Path, default=Path(sys.executable))
    options = parser.parse_args()

    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        servers = start(stack, folder, options)
        rate = 0.6 * calibrated(servers["original"], folder)
        print(f"60 % of the original's most: {rate:.0f} messages/s", flush=True)
        rounds = []
        for number in range(options.rounds):
            rounds.append(measure(servers, folder, rate, options.seconds, number))
            print(f"round {number + 1} of {options.rounds}", flush=True)
        memory = memory_of_connections(servers["ours"])
    figures = summary(rounds, rate, memory)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(figures, indent=2) + "\n")
    print(table(figures))
    print(f"written to {options.output}")


def start(stack: ExitStack, folder: Path, options: argparse.Namespace) -> dict[str, Server]:
    """Build the Go programs, then start the stub and the three servers."""
    subprocess.run(["go", "build", "-o", f"{folder}/", "./..."], cwd=HERE / "go", check=True)
    (folder / "secrets").mkdir()
    (folder / "secrets" / "current").write_text(SECRET)
    endpoint = f"http://127.0.0.1:{STUB}"
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-2",
        "AWS_DEFAULT_REGION": "us-east-2",
        "AWS_ENDPOINT_URL_DYNAMODB": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONPATH": str(ROOT / "service"),
        "IOT_SECRET": SECRET,
        "RECEIVER_AWS_ACCOUNT_ID": "123456789012",
        "RECEIVER_TABLE_NAME": "telemetry",
        "RECEIVER_SECRETS_DIR": str(folder / "secrets"),
        "RECEIVER_HOST": "127.0.0.1",
        "RECEIVER_PORT": str(OURS),
        "RECEIVER_DEREGISTRATION_DELAY_SECONDS": "0",
    }
    original = [str(options.original_python), "-m", "uvicorn", "--app-dir", str(HERE / "original")]
    commands = {
        "stub": (1, STUB, [f"{folder}/stub", "-listen", f"127.0.0.1:{STUB}"]),
        "ours": (0, OURS, [str(options.receiver_python), "-m", "iot_receiver"]),
        "original": (0, ORIGINAL, [*original, "--port", str(ORIGINAL), "app:app"]),
        "go": (
            0,
            GO,
            [f"{folder}/receiver", "-listen", f"127.0.0.1:{GO}", "-endpoint", f"{endpoint}/", "-secret", SECRET],
        ),
    }
    servers = {}
    for name, (core, port, command) in commands.items():
        log = stack.enter_context((folder / f"{name}.log").open("wb"))
        process = stack.enter_context(running(["taskset", "-c", str(core), *command], environment, log))
        servers[name] = Server(name, port, process)
        await_port(port, process, folder / f"{name}.log")
    servers.pop("stub")
    return servers


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program until the block is left."""
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def await_port(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until somebody listens."""
    for _ in range(300):
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    sys.exit(f"{log.stem} did not start:\n{log.read_text()}")


def load(folder: Path, server: Server, seconds: float, **options: float) -> dict[str, float]:
    """Load one server; gives the client's figures and the CPU time of a thousand messages."""
    command = ["taskset", "-c", "1", f"{folder}/load", "-secret", SECRET, "-target", f"127.0.0.1:{server.port}"]
    command += ["-duration", f"{seconds}s"]
    if server.name != "original":  # its rule is SELECT *, the others' sends envelopes
        command.append("-envelope")
    for name, value in options.items():
        command += [f"-{name}", str(value)]
    before = server.cpu()
    outcome: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    used = server.cpu() - before
    if outcome["failures"] or set(outcome["statuses"]) - {"200", "503"} or not outcome["messages"]:
        sys.exit(f"{server.name} did not answer as it should: {outcome}")
    return {
        "cpu_ms_per_1000": used * 1e6 / outcome["messages"],
        "messages_per_second": outcome["messages_per_second"],
        "p50_ms": outcome["p50_ms"],
        "p99_ms": outcome["p99_ms"],
        "unavailable": outcome["statuses"].get("503", 0),
    }


def calibrated(server: Server, folder: Path) -> float:
    """The most messages a second that a server takes, warm."""
    load(folder, server, 2)
    return load(folder, server, 4)["messages_per_second"]


def measure(servers: dict[str, Server], folder: Path, rate: float, seconds: float, number: int) -> Round:
    """One round: each workload on each server, in an order that changes from round to round."""
    names = list(servers)
    names = names[number % len(names) :] + names[: number % len(names)]
    workloads: dict[str, dict[str, float]] = {"single": {}, "array10": {"array": 10}, "rate60": {"rate": rate}}
    return {
        workload: {name: load(folder, servers[name], seconds, **options) for name in names}
        for workload, options in workloads.items()
    }


def memory_of_connections(server: Server) -> float:
    """The server's memory with many connections that each sent a message and stay open, in MiB."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    body = b'{"iot_payload":"%b","iot_client_id":"d"}' % b64encode(b'{"deviceId":"d","temp":1}')
    head = f"POST /ingest HTTP/1.1\r\nHost: h\r\nX-Iot-Secret: {SECRET}\r\nContent-Type: application/json\r\n"
    request = head.encode() + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    with ExitStack() as stack:
        for _ in range(CONNECTIONS // 50):
            some = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(50)]
            for connection in some:
                connection.sendall(request)
            for connection in some:
                connection.recv(1_000)
        time.sleep(1)
        return server.resident()


def summary(rounds: list[Round], rate: float, memory: float) -> dict[str, Any]:
    """The ratios, as medians of the paired rounds and with the least and the greatest, beside the rounds."""

    def ratios(workload: str, over: str, under: str, figure: str = "cpu_ms_per_1000") -> list[float]:
        return [each[workload][over][figure] / each[workload][under][figure] for each in rounds]

    compared = {
        "single": ratios("single", "original", "ours"),
        "array10": ratios("array10", "original", "ours"),
        "rate60": ratios("rate60", "original", "ours"),
        "go": ratios("single", "ours", "go"),
        "rate60_p99": ratios("rate60", "ours", "original", "p99_ms"),
    }
    return {
        "ratios": {name: statistics.median(values) for name, values in compared.items()},
        "spread": {name: [min(values), max(values)] for name, values in compared.items()},
        "rate60_messages_per_second": rate,
        "memory_mib_at_5000_connections": memory,
        "rounds": rounds,
    }


def table(figures: dict[str, Any]) -> str:
    """What to print."""
    lines = [f"{'':10} {'':10} {'CPU-ms/1000':>12} {'messages/s':>11} {'p50 ms':>8} {'p99 ms':>8}"]
    for workload in ("single", "array10", "rate60"):
        for name in ("original", "ours", "go"):
            values = {
                figure: statistics.median(each[workload][name][figure] for each in figures["rounds"])
                for figure in ("cpu_ms_per_1000", "messages_per_second", "p50_ms", "p99_ms")
            }
            lines.append(
                f"{workload:10} {name:10} {values['cpu_ms_per_1000']:12.1f} {values['messages_per_second']:11.0f}"
                f" {values['p50_ms']:8.1f} {values['p99_ms']:8.1f}"
            )
    goals = {
        "single": "original ÷ ours, at least 15",
        "array10": "original ÷ ours, at least 50",
        "rate60": "original ÷ ours, at least 2.4",
        "go": "ours ÷ Go, at most 2.8",
        "rate60_p99": "ours ÷ original, at most 0.5",
    }
    lines.append("")
    for name, goal in goals.items():
        low, high = figures["spread"][name]
        lines.append(f"{name:10} {figures['ratios'][name]:6.2f}  ({low:.2f} to {high:.2f}; {goal})")
    lines.append(f"memory     {figures['memory_mib_at_5000_connections']:6.1f}  MiB at 5,000 connections, at most 120")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
