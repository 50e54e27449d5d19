"""A state as a HAProxy configuration: one text, and the small files it names."""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import jinja2

from . import expressions
from . import state as s

REASONS = {
    400: "Bad Request",
    408: "Request Timeout",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Temporarily Unavailable",
    504: "Gateway Time-out",
}


@dataclass(frozen=True)
class Places:
    """Where things lie and listen on this machine."""

    address: str
    certificates: Path  # folder of <certificate id>.pem: chain and key
    folder: Path  # of the configuration and the files beside it


@dataclass(frozen=True)
class Making:
    """Input of a configuration, and the files that rendering it collects."""

    state: s.State
    places: Places
    files: dict[str, bytes]
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Configuration:
    """``digest`` names everything but the targets, which are set in the running HAProxy."""

    text: str
    digest: str
    files: Mapping[str, bytes] = field(default_factory=dict)  # by name, in the folder of the configuration
    faults: tuple[str, ...] = ()  # what was left out, and why


@dataclass(frozen=True)
class Port:
    """One port of this machine, with every load balancer that listens there."""

    number: int
    protocol: str
    bind: str
    idle_timeout: int
    routes: tuple[Route, ...]


@dataclass(frozen=True)
class Route:
    """A load balancer's listener as template values; ``chosen`` is the condition under which a request is for it."""

    name: str
    hosts: tuple[str, ...]
    chosen: str
    attributes: Mapping[str, str]
    steps: tuple[str, ...]
    uses: tuple[str, ...]


@dataclass(frozen=True)
class Backend:
    """A target group and its servers: slots that targets are put into."""

    name: str
    idle_timeout: int
    server_options: str
    servers: tuple[tuple[str, str], ...]  # name, the rest of its line


def configuration(state: s.State, places: Places) -> Configuration:
    """HAProxy's configuration for this state. Faulty parts are left out and named."""
    files = {f"{code}.http": _error_file(code) for code in REASONS} | {"503.body": _page(503)}
    making = Making(state, places, files)
    ports = _ports(making)
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(name.encode() + b"\0" + content + b"\0")
    for certificate in sorted({c for b in state.load_balancers for x in b.listeners for c in x.certificates}):
        digest.update(_certificate(places, certificate) or b"")
    empty = _text(places, ports, [_backend(g, idle, with_targets=False) for g, idle in _groups(state)], "")
    digest.update(empty.encode())
    name = digest.hexdigest()[:16]
    return Configuration(
        text=_text(places, ports, [_backend(g, idle, with_targets=True) for g, idle in _groups(state)], name),
        digest=name,
        files=files,
        faults=tuple(making.faults),
    )


def backend_name(group: s.TargetGroup) -> str:
    """The backend that stands for a target group (names are unique in a region)."""
    return f"tg_{group.name}"


def slots(group: s.TargetGroup) -> int:
    """Number of server slots: room for rollouts without a reload."""
    return max(16, 1 << (4 * len(group.targets) - 1).bit_length())


def _text(places: Places, ports: list[Port], backends: list[Backend], digest: str) -> str:
    return _template().render(
        digest=digest,
        folder=places.folder,
        ports=ports,
        backends=backends,
        errors=sorted(REASONS),
        nobody=_nobody(places),
    )


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(  # noqa: S701 - plain text, not HTML
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    return environment.from_string(
        importlib.resources.files(__package__).joinpath("haproxy.cfg.j2").read_text()
    )


def _groups(state: s.State) -> Iterator[tuple[s.TargetGroup, int]]:
    """Each target group in use, with its load balancer's idle timeout (a group has only one)."""
    idle = {
        rule.action.group: lb.idle_timeout
        for lb in state.load_balancers
        for listener in lb.listeners
        for rule in listener.rules
        if isinstance(rule.action, s.Forward)
    }
    for arn, group in sorted(state.target_groups.items()):
        if arn in idle:
            yield group, idle[arn]


def _ports(making: Making) -> list[Port]:
    listening: dict[int, list[tuple[s.LoadBalancer, s.Listener]]] = {}
    places = making.places
    for lb in making.state.load_balancers:
        for listener in lb.listeners:
            if listener.protocol == "HTTPS" and not _certificates(listener, places):
                making.faults.append(
                    f"{lb.name}:{listener.port} has no certificate here: the port stays closed"
                )
                continue
            others = listening.setdefault(listener.port, [])
            if others and others[0][1].protocol != listener.protocol:
                making.faults.append(
                    f"{lb.name}:{listener.port}: {others[0][0].name} speaks another protocol there"
                )
                continue
            others.append((lb, listener))
    return [_port(number, listening[number], making) for number in sorted(listening)]


def _port(number: int, listening: list[tuple[s.LoadBalancer, s.Listener]], making: Making) -> Port:
    """Load balancers share one address here: on the same port, the host name decides."""
    first, listener = listening[0]
    places = making.places
    bind = f"{places.address}:{number}"
    if listener.protocol == "HTTPS":
        found = dict.fromkeys(c for _, other in listening for c in _certificates(other, places))
        crt = " ".join(f"crt {places.certificates / certificate}.pem" for certificate in found)
        bind += f" ssl {crt} {_tls(making.state, listener, first)}"
    routes = []
    for lb, other in listening:
        chosen = f"{{ var(txn.balancer) -m str {lb.name} }} " if len(listening) > 1 else ""
        steps, uses = _steps(lb, other, chosen, making)
        routes.append(Route(lb.name, lb.names, chosen, lb.attributes, steps, uses))
    return Port(number, listener.protocol, bind, first.idle_timeout, tuple(routes))


def _certificates(listener: s.Listener, places: Places) -> list[str]:
    return [name for name in listener.certificates if _certificate(places, name) is not None]


def _certificate(places: Places, certificate: str) -> bytes | None:
    path = places.certificates / f"{certificate}.pem"
    return path.read_bytes() if re.fullmatch(r"[A-Za-z0-9-]+", certificate) and path.is_file() else None


def _tls(state: s.State, listener: s.Listener, lb: s.LoadBalancer) -> str:
    """Options of a TLS port: the policy's versions and ciphers, by OpenSSL's names as ELBv2 has them."""
    alpn = "h2,http/1.1" if lb.attributes.get("routing.http2.enabled", "true") == "true" else "http/1.1"
    policy = state.policies.get(listener.policy)
    if policy is None:
        return f"alpn {alpn} ssl-min-ver TLSv1.2"
    versions = sorted("TLSv1.0" if name == "TLSv1" else name for name in policy.protocols)
    options = [f"alpn {alpn}", f"ssl-min-ver {versions[0]}", f"ssl-max-ver {versions[-1]}"]
    if old := [name for name in policy.ciphers if not name.startswith("TLS_")]:
        # OpenSSL 3 refuses TLS 1.0 and 1.1 unless the security level is lowered.
        options.append(f"ciphers {':'.join(old)}" + (":@SECLEVEL=0" if versions[0] < "TLSv1.2" else ""))
    if new := [name for name in policy.ciphers if name.startswith("TLS_")]:
        options.append(f"ciphersuites {':'.join(new)}")
    return " ".join(options)


def _steps(
    lb: s.LoadBalancer, listener: s.Listener, chosen: str, making: Making
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A listener's rules: the first that holds is remembered, then carried out.

    HAProxy runs all ``http-request`` rules before it picks a backend, so a rule that forwards could not
    otherwise come before one that answers.
    """
    matches: list[str] = []
    answers: list[str] = []
    uses: list[str] = []
    for rule in listener.rules:
        name = f"{lb.name}/{rule.priority}"
        try:
            conditions = " ".join(expressions.condition(item) for item in rule.conditions)
            answer, use = _action(rule.action, f"{{ var(txn.rule) -m str {name} }}", making)
        except ValueError as error:
            making.faults.append(f"{lb.name}:{listener.port} rule {rule.priority} is left out: {error}")
            continue
        first = f"{chosen}!{{ var(txn.rule) -m found }}"
        matches.append(f"http-request set-var(txn.rule) str({name}) if {first} {conditions}".rstrip())
        answers += answer
        uses += use
    return (*matches, *answers), tuple(uses)


def _action(action: s.Action, when: str, making: Making) -> tuple[list[str], list[str]]:
    """``http-request`` lines and ``use_backend`` lines of a rule's action."""
    if isinstance(action, s.FixedResponse):
        body = ""
        if action.body:
            name = f"{hashlib.sha256(action.body.encode()).hexdigest()[:16]}.body"
            making.files[name] = action.body.encode()
            body = (
                f'content-type "{expressions.quote(action.content_type)}" file {making.places.folder / name} '
            )
        return [f"http-request return status {action.status} {body}hdr Server awselb/2.0 if {when}"], []
    group = making.state.target_groups.get(action.group)
    if group is None:
        return [f"http-request return status 503 {_nobody(making.places)} if {when}"], []
    return [], [f"use_backend {backend_name(group)} if {when}"]


def _nobody(places: Places) -> str:
    """The rest of an ALB's answer when there is no target to send to."""
    return f"content-type text/html file {places.folder}/503.body hdr Server awselb/2.0"


def _backend(group: s.TargetGroup, idle_timeout: int, *, with_targets: bool) -> Backend:
    options = "ssl verify none " if group.protocol == "HTTPS" else ""  # an ALB does not verify targets either
    ready = sorted(target for target, what in group.states().items() if what == "ready")
    lines = [f"{_socket(target)}" for target in ready] if with_targets else []
    lines += ["127.0.0.1:1 disabled"] * (slots(group) - len(lines))
    return Backend(
        name=backend_name(group),
        idle_timeout=idle_timeout,
        server_options=options,
        servers=tuple((f"s{number}", line) for number, line in enumerate(lines, start=1)),
    )


def _socket(target: tuple[str, int]) -> str:
    address, port = target
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _error_file(code: int) -> bytes:
    """What an ALB answers by itself. Where HAProxy says 503, it could not connect: an ALB says 502."""
    shown = 502 if code == 503 else code
    body = _page(shown)
    head = f"HTTP/1.1 {shown} {REASONS[shown]}\r\nServer: awselb/2.0\r\nContent-Type: text/html\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _page(code: int) -> bytes:
    title = f"{code} {REASONS[code]}"
    head = f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>"
    return f"{head}\r\n</body>\r\n</html>\r\n".encode()
