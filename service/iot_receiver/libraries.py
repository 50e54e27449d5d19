"""Checks at start that libraries have what the receiver uses of them beyond their documentation.

Their next release may change it without a word, and that would show as some failed request.
"""

import inspect
import pkgutil
from collections.abc import Iterator
from importlib.metadata import version

_NAMES = {
    "aiohttp": (
        "aiohttp.web:RequestHandler.handle_error",
        "aiohttp.abc:AbstractStreamWriter.output_size",
        "aiohttp.http_exceptions:LineTooLong",
    ),
    "aiobotocore": ("aiobotocore.session:AioSession.get_component",),
    "aioprometheus": ("aioprometheus.formats.text:TextFormatter._format_line",),
    "botocore": (
        "botocore.credentials:RefreshableCredentials.refresh_needed",
        "botocore.httpsession:get_cert_path",
        "botocore.loaders:Loader.load_service_model",
        "botocore.utils:get_environ_proxies",
    ),
}
_PARAMETERS = {
    "aiohttp.web:RequestHandler.__init__": {
        "access_log",
        "auto_decompress",
        "keepalive_timeout",
        "loop",
        "max_field_size",
        "max_headers",
        "max_line_size",
        "read_bufsize",
    }
}


def faults() -> Iterator[str]:
    """What is missing, in a line each."""
    for library, names in _NAMES.items():
        for name in names:
            try:
                pkgutil.resolve_name(name)
            except (ImportError, AttributeError):
                yield _fault(library, name)
    for name, parameters in _PARAMETERS.items():
        for parameter in sorted(parameters - inspect.signature(pkgutil.resolve_name(name)).parameters.keys()):
            yield _fault("aiohttp", f"parameter {parameter} of {name}")


def _fault(library: str, missing: str) -> str:
    return f"{library} {version(library)} has no {missing}: install the versions of requirements/service.txt"
