"""Start the emulated AWS endpoint: `iot-sandbox-aws --host 127.0.0.1 --port 4566`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from iot_sandbox.aws import settings, transient

log = logging.getLogger("iot_sandbox.aws")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; the exit status is 2 for unusable settings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=4566, help="port to listen on (default: 4566)")
    parser.add_argument("--verbose", action="store_true", help="log every request")
    parser.add_argument(
        "--transient",
        action="store_true",
        help="serve on a free port of 127.0.0.1 in the background, until the calling ansible-playbook ends; "
        "print the environment for clients as JSON",
    )
    parser.add_argument("--remove", default="", help="with --transient: a folder to remove at the end")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("werkzeug").setLevel(logging.INFO if options.verbose else logging.WARNING)
    try:
        config = settings.current()
    except settings.SettingsError as error:
        log.error("%s", error)  # noqa: TRY400 - the message says it all
        return 2
    if options.transient:
        remove = Path(options.remove) if options.remove else None
        return transient.start(lambda ready: serve(config, "127.0.0.1", 0, ready), remove)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))  # nothing is kept, so requests need not be finished
    serve(
        config,
        options.host,
        options.port,
        lambda port: log.info("emulated AWS: http://%s:%s", options.host, port),
    )
    return 0


def serve(config: settings.Settings, host: str, port: int, ready: Callable[[int], None]) -> None:
    """Serve until the process ends; `ready(port)` is called once the endpoint listens."""
    prepare_moto(config.account_id)
    # moto reads its own variables when it is imported.
    from moto.moto_server.werkzeug_app import MotoRequestHandler  # noqa: PLC0415
    from werkzeug.serving import make_server  # noqa: PLC0415

    from iot_sandbox.aws.app import Application  # noqa: PLC0415

    application = Application(config)
    if config.name_server:
        from iot_sandbox.aws import name_server  # noqa: PLC0415 - `make try` has neither a name server nor its library

        name_server.start(*config.name_server)
    server = make_server(host, port, application, threaded=True, request_handler=MotoRequestHandler)
    ready(server.server_port)
    server.serve_forever()


def prepare_moto(account_id: str) -> None:
    """Set what moto reads from the environment at import; existing values win."""
    os.environ.setdefault("MOTO_ACCOUNT_ID", account_id)
    os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
    # The user's own profile and endpoints are for clients; a server that read them could call real AWS.
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        del os.environ[name]
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


if __name__ == "__main__":
    sys.exit(main())
