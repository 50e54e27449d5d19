"""Keeps byte code that Python would compile anew in each process; `make setup` puts it into the environments.

Ansible hands each module to a Python of its own as an archive of the module and some 50 library files, and zipimport
keeps no byte code: a third of a small module's processor time is compiling. Where a shell sets
PYTHONDONTWRITEBYTECODE, the same holds for Ansible itself.

Each start of Python imports this, so it imports nothing that a start has not loaded already.
"""

import _imp  # importlib uses these two functions of CPython likewise
import marshal
import os
import sys
import zipimport
from types import CodeType

FOLDER = os.path.join(os.path.dirname(__file__), "__pycache__", f"zipped-{sys.implementation.cache_tag}")
compile_source = zipimport._compile_source  # type: ignore[attr-defined]


def kept(pathname: str, source: bytes) -> CodeType:
    """The code of a file in an archive, from FOLDER if this source was compiled before."""
    file = os.path.join(FOLDER, f"{_imp.source_hash(0, source).hex()}-{len(source)}")
    try:
        with open(file, "rb") as stored:
            code: CodeType = marshal.load(stored)  # noqa: S302 - as safe as a .pyc file beside it
    except (OSError, EOFError, ValueError, TypeError):
        code = compile_source(pathname, source)
        keep(file, code)
    else:
        _imp._fix_co_filename(code, pathname)  # type: ignore[attr-defined]
    return code


def keep(file: str, code: CodeType) -> None:
    """Store code whole or not at all, whatever other processes do; who may not write does without."""
    part = f"{file}.{os.getpid()}"
    try:
        os.makedirs(FOLDER, exist_ok=True)
        with open(part, "wb") as stored:
            marshal.dump(code, stored)
        os.replace(part, file)
    except OSError:
        return


sys.dont_write_bytecode = False
zipimport._compile_source = kept  # type: ignore[attr-defined]
