"""Which calls of AWS IoT a module can make, read from its source: the permissions it needs."""

import ast
from functools import cache

import boto3

from tests.support.paths import ROOT

PLUGINS = ROOT / "collections/ansible_collections/iotweb/aws_iot/plugins"
PREFIX = "ansible_collections.iotweb.aws_iot.plugins."


@cache
def operations() -> dict[str, str]:
    """The API's calls by boto3's names."""
    client = boto3.client("iot", region_name="us-east-2", aws_access_key_id="a", aws_secret_access_key="b")
    found: dict[str, str] = client.meta.method_to_api_mapping
    return found


@cache
def parsed(module: str) -> ast.Module:
    return ast.parse((PLUGINS / f"{module.replace('.', '/')}.py").read_text())


def definitions(tree: ast.Module) -> dict[str, ast.AST]:
    """Functions, classes and constants of a file, by name."""
    found: dict[str, ast.AST] = {}
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node
    return found


def imports(tree: ast.Module) -> dict[str, str]:
    """Names taken from the collection's other files, and from which."""
    return {
        alias.name: node.module.removeprefix(PREFIX)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PREFIX)
        for alias in node.names
        if node.module
    }


def texts(node: ast.AST) -> set[str]:
    """Texts within; one with a part to fill in counts for all calls that it may name."""
    found = {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)}
    for each in ast.walk(node):
        if isinstance(each, ast.JoinedStr) and isinstance(end := each.values[-1], ast.Constant):
            found |= {f"{start}{end.value!s}" for start in ("enable", "disable")}
    return found


def calls(module: str, name: str = "main", seen: frozenset[tuple[str, str]] = frozenset()) -> set[str]:
    """The API's names of the calls that a function may make, itself or by what it uses."""
    if (module, name) in seen:
        return set()
    seen |= {(module, name)}
    tree = parsed(module)
    known, taken = definitions(tree), imports(tree)
    if name in taken:
        return calls(taken[name], name, seen)
    if name not in known:
        return set()
    found = {operations()[text] for text in texts(known[name]) if text in operations()}
    used = {each.id for each in ast.walk(known[name]) if isinstance(each, ast.Name)}
    return found.union(*(calls(module, each, seen) for each in used if each != name))
