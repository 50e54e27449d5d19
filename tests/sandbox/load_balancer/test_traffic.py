"""A real HAProxy follows a real (emulated) ELBv2: what clients see while things change."""

from __future__ import annotations

import http.client
import http.server
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from iot_sandbox.load_balancer.follow import Follower
from iot_sandbox.load_balancer.haproxy import HAProxy
from iot_sandbox.load_balancer.render import Places
from iot_sandbox.load_balancer.source import Source
from moto.server import ThreadedMotoServer

from tests.support.certificates import make_certificate
from tests.support.ports import free_port
from tests.support.waiting import until

HAPROXY = "/usr/sbin/haproxy"
pytestmark = pytest.mark.skipif(
    not Path(HAPROXY).exists(), reason="haproxy is not installed: apt install haproxy"
)


@dataclass
class Stub:
    """A target on an address of its own (the emulator identifies targets by address alone)."""

    address: str = "127.0.0.1"
    delay: float = 0.0  # seconds until it answers
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        stub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                stub.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                time.sleep(stub.delay)
                body = stub.address.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer((self.address, 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@dataclass(frozen=True)
class Answer:
    status: int
    body: str
    headers: dict[str, str]


@dataclass
class World:
    """An account with nothing in it, a HAProxy that serves nothing yet, and the follower between them."""

    elbv2: Any
    route53: Any
    ec2: Any
    acm: Any
    follower: Follower
    folder: Path
    master: subprocess.Popen[bytes]
    listen: int

    def settle(self, trouble: str = "") -> None:
        """One round of the follower, which meets no trouble but what is named."""
        self.follower.step(time.monotonic())
        assert (trouble in self.follower.trouble) if trouble else not self.follower.trouble

    def balancer(self, name: str = "k8s-apps") -> Any:
        vpc = self.ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
        subnets = [
            self.ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.1.{n}.0/24", AvailabilityZone=f"us-east-2{z}")[
                "Subnet"
            ]["SubnetId"]
            for n, z in enumerate("ab")
        ]
        return self.elbv2.create_load_balancer(Name=name, Subnets=subnets)["LoadBalancers"][0]

    def group(self, balancer: Any, name: str = "tg", delay: int = 30) -> str:
        arn: str = self.elbv2.create_target_group(
            Name=name, Protocol="HTTP", Port=80, VpcId=balancer["VpcId"], TargetType="ip"
        )["TargetGroups"][0]["TargetGroupArn"]
        self.elbv2.modify_target_group_attributes(
            TargetGroupArn=arn,
            Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": str(delay)}],
        )
        return arn

    def listener(self, balancer: Any, action: dict[str, Any], **more: Any) -> str:
        arn: str = self.elbv2.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"],
            **{"Port": self.listen, "Protocol": "HTTP", "DefaultActions": [action]} | more,
        )["Listeners"][0]["ListenerArn"]
        return arn

    def register(self, group: str, *stubs: Stub) -> None:
        for stub in stubs:
            self.elbv2.register_targets(
                TargetGroupArn=group, Targets=[{"Id": stub.address, "Port": stub.port}]
            )

    def deregister(self, group: str, stub: Stub) -> None:
        self.elbv2.deregister_targets(TargetGroupArn=group, Targets=[{"Id": stub.address, "Port": stub.port}])

    def get(self, path: str = "/", method: str = "GET", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.listen, timeout=10)
        connection.request(method, path, headers={"Host": "ingest.test", **headers})
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return Answer(answer.status, body, {k.lower(): v for k, v in answer.getheaders()})


@pytest.fixture
def world(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    # Pytest's own temporary folders are too long for the path of a socket.
    with tempfile.TemporaryDirectory(prefix="lb") as folder:
        yield from make_world(endpoint, Path(folder), monkeypatch)


def make_world(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    urllib.request.urlopen(f"{endpoint}/moto-api/reset", data=b"").close()  # noqa: S310
    for name in ("AWS_PROFILE", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    session = boto3.Session("a", "b", region_name="us-east-2")
    folder = tmp_path / "lb"
    certificates = tmp_path / "acm"
    certificates.mkdir()
    clients: dict[str, Any] = {
        name: session.client(name, endpoint_url=endpoint) for name in ("elbv2", "route53", "ec2", "acm")
    }
    haproxy = HAProxy(folder, HAPROXY)
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    follower = Follower(
        Source(clients["elbv2"], clients["route53"]),
        haproxy,
        Places("127.0.0.1", certificates, folder),
        hosts,
    )
    follower.step(time.monotonic())
    log = (tmp_path / "haproxy.log").open("wb")
    master = subprocess.Popen(
        [HAPROXY, "-W", "-db", "-S", folder / "master.sock", "-f", haproxy.file], stdout=log, stderr=log
    )
    world = World(**clients, follower=follower, folder=tmp_path, master=master, listen=free_port())
    try:
        until(lambda: bool(haproxy.workers()))
        yield world
        assert world.master.poll() is None, "HAProxy has ended"
    finally:
        world.master.terminate()
        world.master.wait(10)
        print((tmp_path / "haproxy.log").read_text())  # pytest shows it for a test that fails


@pytest.fixture
def stubs() -> Iterator[Callable[..., Stub]]:
    made: list[Stub] = []

    def make(delay: float = 0.0) -> Stub:
        made.append(Stub(f"127.0.0.{10 + len(made)}", delay))
        return made[-1]

    yield make
    for stub in made:
        stub.close()


def forward(group: str) -> dict[str, Any]:
    return {"Type": "forward", "TargetGroupArn": group}


def fixed(status: int, body: str = "") -> dict[str, Any]:
    config = {"StatusCode": str(status), "ContentType": "text/plain"} | (
        {"MessageBody": body} if body else {}
    )
    return {"Type": "fixed-response", "FixedResponseConfig": config}


def path(*values: str) -> dict[str, Any]:
    return {"Field": "path-pattern", "PathPatternConfig": {"Values": list(values)}}


def host(*values: str) -> dict[str, Any]:
    return {"Field": "host-header", "HostHeaderConfig": {"Values": list(values)}}


def test_nothing_listens_without_a_load_balancer(world: World) -> None:
    with pytest.raises(ConnectionRefusedError):
        world.get()
    balancer = world.balancer()
    world.listener(balancer, fixed(404))
    world.settle()
    assert world.get().status == 404
    world.elbv2.delete_load_balancer(LoadBalancerArn=balancer["LoadBalancerArn"])
    world.settle()
    until(lambda: _refused(world))


def _refused(world: World) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", world.listen)) != 0


def test_rules_are_followed_in_order(world: World, stubs: Callable[..., Stub]) -> None:
    stub = stubs()
    balancer = world.balancer()
    group = world.group(balancer)
    world.register(group, stub)
    listener = world.listener(balancer, fixed(404, "nothing 'here'"))
    redirect = {
        "Type": "redirect",
        "RedirectConfig": {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"},
    }
    rules: list[tuple[list[dict[str, Any]], dict[str, Any]]] = [
        ([host("ingest.test"), path("/ingest/secret")], fixed(403)),
        ([host("ingest.test"), path("/ingest", "/ingest/*")], forward(group)),
        ([host("*.test"), path("/old/*")], redirect),
        ([{"Field": "http-request-method", "HttpRequestMethodConfig": {"Values": ["DELETE"]}}], fixed(405)),
    ]
    for priority, (conditions, action) in enumerate(rules, start=1):
        world.elbv2.create_rule(
            ListenerArn=listener, Priority=priority, Conditions=conditions, Actions=[action]
        )
    world.settle()
    assert world.get("/ingest").body == stub.address
    assert world.get("/ingest/?confirmationToken=x").body == stub.address
    assert stub.seen[-1][0] == "/ingest/?confirmationToken=x"
    assert world.get("/ingest/secret").status == 403
    assert world.get("/ingestion").status == 404
    assert world.get("/ingest", Host="other.test").status == 404
    assert world.get("/ingest", Host="INGEST.test:443").body == stub.address
    moved = world.get("/old/a")
    assert (moved.status, moved.body) == (501, "redirect is not carried out here")
    assert world.get("/", method="DELETE").status == 404
    (left_out,) = world.follower.faults
    assert "rule 4 is left out" in left_out
    assert "not http-request-method" in left_out
    other = world.get("/")
    assert (other.status, other.body, other.headers["server"]) == (404, "nothing 'here'", "awselb/2.0")


def test_headers_are_an_albs(world: World, stubs: Callable[..., Stub]) -> None:
    stub = stubs()
    balancer = world.balancer()
    group = world.group(balancer)
    world.register(group, stub)
    world.listener(balancer, forward(group))
    world.settle()
    world.get()
    first = stub.seen[-1][1]
    assert first["host"] == "ingest.test"
    assert first["x-forwarded-for"] == "127.0.0.1"
    assert (first["x-forwarded-proto"], first["x-forwarded-port"]) == ("http", str(world.listen))
    assert first["x-amzn-trace-id"].startswith("Root=1-")
    assert len(first["x-amzn-trace-id"]) == len("Root=1-5759e988-bd862e3fe1be46a994272793")
    world.get(**{"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "gopher"})
    assert stub.seen[-1][1]["x-forwarded-for"] == "192.0.2.7, 127.0.0.1"
    assert stub.seen[-1][1]["x-forwarded-proto"] == "http"
    for mode, expected in (("preserve", "192.0.2.7"), ("remove", None)):
        world.elbv2.modify_load_balancer_attributes(
            LoadBalancerArn=balancer["LoadBalancerArn"],
            Attributes=[{"Key": "routing.http.xff_header_processing.mode", "Value": mode}],
        )
        world.settle()
        world.get(**{"X-Forwarded-For": "192.0.2.7"})
        assert stub.seen[-1][1].get("x-forwarded-for") == expected


def test_without_targets_503_and_without_a_connection_502(world: World, stubs: Callable[..., Stub]) -> None:
    balancer = world.balancer()
    group = world.group(balancer)
    world.listener(balancer, forward(group))
    world.settle()
    answer = world.get()
    assert (answer.status, answer.headers["server"]) == (503, "awselb/2.0")
    assert "503 Service Temporarily Unavailable" in answer.body
    stub = stubs()
    stub.close()
    world.register(group, stub)
    world.settle()
    answer = world.get()
    assert answer.status == 502
    assert "502 Bad Gateway" in answer.body


def test_targets_change_under_load_without_an_error(world: World, stubs: Callable[..., Stub]) -> None:
    """Targets come and go and rules change, while clients send on connections that they keep."""
    balancer = world.balancer()
    group = world.group(balancer)
    first = [stubs(0.002), stubs(0.002)]
    world.register(group, *first)
    listener = world.listener(balancer, forward(group))
    world.settle()
    loads = world.follower.haproxy.digest(world.follower.haproxy.workers()[0])
    stop = threading.Event()
    faults: list[str] = []
    answered = [0] * 4

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", world.listen, timeout=10)
        while not stop.is_set():
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                faults.append(repr(error))
                connection.close()
                continue
            answered[number] += 1
            if answer.status != 200:
                faults.append(str(answer.status))

    clients = [
        threading.Thread(target=client, args=(number,), daemon=True) for number in range(len(answered))
    ]
    for thread in clients:
        thread.start()
    old = first
    for _ in range(3):
        new = [stubs(0.002), stubs(0.002)]
        world.register(group, *new)
        world.settle()
        for stub in old:
            world.deregister(group, stub)
        world.settle()
        time.sleep(0.2)
        count = [len(stub.seen) for stub in old]
        time.sleep(0.2)
        assert [len(stub.seen) for stub in old] == count, "a deregistered target still gets new requests"
        assert all(stub.seen for stub in new)
        old = new
    assert world.follower.haproxy.digest(world.follower.haproxy.workers()[0]) == loads, (
        "targets alone reloaded HAProxy"
    )
    for priority in (1, 2, 3):
        world.elbv2.create_rule(
            ListenerArn=listener, Priority=priority, Conditions=[path(f"/{priority}")], Actions=[fixed(404)]
        )
        world.settle()
        time.sleep(0.2)
    stop.set()
    for thread in clients:
        thread.join()
    assert world.get("/3").status == 404
    assert not faults
    assert min(answered) > 50


def test_a_deregistered_target_finishes_its_request(world: World, stubs: Callable[..., Stub]) -> None:
    slow, other = stubs(1.5), stubs()
    balancer = world.balancer()
    group = world.group(balancer, delay=30)
    world.register(group, slow)
    world.listener(balancer, forward(group))
    world.settle()
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(world.get().body), daemon=True)
    thread.start()
    until(lambda: bool(slow.seen))
    world.register(group, other)
    world.deregister(group, slow)
    world.settle()
    assert {world.get().body for _ in range(4)} == {other.address}
    thread.join()
    assert answers == [slow.address]


def test_after_the_deregistration_delay_a_connection_is_cut(world: World, stubs: Callable[..., Stub]) -> None:
    slow = stubs(6)
    balancer = world.balancer()
    group = world.group(balancer, delay=1)
    world.register(group, slow)
    world.listener(balancer, forward(group))
    world.settle()
    statuses: list[object] = []

    def request() -> None:
        try:
            statuses.append(world.get().status)
        except (OSError, http.client.HTTPException) as error:
            statuses.append(error)

    thread = threading.Thread(target=request, daemon=True)
    thread.start()
    until(lambda: bool(slow.seen))
    world.deregister(group, slow)
    world.settle()
    time.sleep(1.1)
    world.settle()
    thread.join(2)
    assert not thread.is_alive()
    assert statuses != [200]


def test_https_with_several_certificates(world: World, stubs: Callable[..., Stub]) -> None:
    stub = stubs()
    balancer = world.balancer()
    group = world.group(balancer)
    world.register(group, stub)
    arns = [_certificate(world, name) for name in ("one.test", "two.test")]
    listener = world.listener(
        balancer,
        forward(group),
        Protocol="HTTPS",
        SslPolicy="ELBSecurityPolicy-TLS13-1-2-2021-06",
        Certificates=[{"CertificateArn": arns[0]}],
    )
    world.elbv2.add_listener_certificates(ListenerArn=listener, Certificates=[{"CertificateArn": arns[1]}])
    world.settle()
    assert _tls(world, "one.test") == ("one.test", "h2")
    assert _tls(world, "two.test") == ("two.test", "h2")
    assert _tls(world, "unknown.test") == ("one.test", "h2")
    with pytest.raises(ssl.SSLError):
        _tls(world, "one.test", ssl.TLSVersion.TLSv1_1)
    world.elbv2.modify_listener(ListenerArn=listener, SslPolicy="ELBSecurityPolicy-TLS13-1-3-2021-06")
    world.settle()
    with pytest.raises(ssl.SSLError):
        _tls(world, "one.test", ssl.TLSVersion.TLSv1_2)
    assert _tls(world, "one.test")[0] == "one.test"


def _certificate(world: World, name: str) -> str:
    """A certificate in the emulated ACM, and in the folder where the sandbox's ACM puts it for HAProxy."""
    made = make_certificate(world.folder, name)
    key, certificate = made.with_suffix(".key").read_bytes(), made.read_bytes()
    arn: str = world.acm.import_certificate(Certificate=certificate, PrivateKey=key)["CertificateArn"]
    (world.folder / "acm" / f"{arn.rpartition('/')[2]}.pem").write_bytes(certificate + key)
    return arn


def _tls(world: World, name: str, version: ssl.TLSVersion | None = None) -> tuple[str, str | None]:
    """The common name that is presented for this server name, and the protocol that was agreed on."""
    context = ssl.create_default_context(cafile=str(world.folder / "one.test.crt"))
    context.load_verify_locations(str(world.folder / "two.test.crt"))
    context.check_hostname = False
    context.set_alpn_protocols(["h2", "http/1.1"])
    if version:
        context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", world.listen), 5) as raw,
        context.wrap_socket(raw, server_hostname=name) as tls,
    ):
        certificate = tls.getpeercert()
        assert certificate is not None
        subject: Any = certificate["subject"]
        return dict(pair[0] for pair in subject)["commonName"], tls.selected_alpn_protocol()


def test_two_load_balancers_share_a_port(world: World, stubs: Callable[..., Stub]) -> None:
    hosts = []
    for name in ("first", "second"):
        balancer = world.balancer(name)
        hosts.append(balancer["DNSName"])
        world.listener(balancer, fixed(200, name))
    zone = world.route53.create_hosted_zone(Name="x.test", CallerReference="1")["HostedZone"]["Id"]
    record = {"Name": "alias.x.test", "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": hosts[1]}]}
    world.route53.change_resource_record_sets(
        HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
    )
    world.settle()
    assert world.get(Host=hosts[0]).body == "first"
    assert world.get(Host=hosts[1]).body == "second"
    assert world.get(Host="alias.x.test").body == "second"
    assert world.get(Host="unknown.test").body == "first"
    names = (world.folder / "hosts").read_text().split()
    assert {"alias.x.test", *(name.lower() for name in hosts)} <= set(names)


def test_names_are_taken_out_at_the_end(world: World) -> None:
    balancer = world.balancer()
    world.listener(balancer, fixed(404))
    world.settle()
    file = world.folder / "hosts"
    assert balancer["DNSName"].lower() in file.read_text()
    stop = threading.Event()
    stop.set()
    world.follower.run(stop, 1)
    assert file.read_text() == "127.0.0.1 localhost\n"


def test_a_refused_port_leaves_the_rest_serving(world: World) -> None:
    balancer = world.balancer()
    world.listener(balancer, fixed(200, "served"))
    world.settle()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        world.listener(balancer, fixed(404), Port=taken.getsockname()[1])
        world.settle(trouble="did not load")
        assert world.get().body == "served"
    world.follower.step(time.monotonic() + 60)
    assert world.get().body == "served"
    assert not world.follower.trouble


def test_a_restarted_haproxy_serves_the_same(world: World, stubs: Callable[..., Stub]) -> None:
    stub = stubs()
    balancer = world.balancer()
    group = world.group(balancer)
    world.listener(balancer, forward(group))
    world.settle()
    world.register(group, stub)
    world.settle()
    world.master.terminate()
    world.master.wait(10)
    world.settle()  # HAProxy is down: the file alone is kept up to date
    haproxy = world.follower.haproxy
    world.master = subprocess.Popen(
        [HAPROXY, "-W", "-db", "-S", haproxy.folder / "master.sock", "-f", haproxy.file]
    )
    until(lambda: bool(haproxy.workers()))
    assert world.get().body == stub.address
