"""Names with a known meaning: the network, waiting, models of the running code, methods that change the schema."""

from __future__ import annotations

import ast
import sys
from collections.abc import Container, Mapping

WAITS = (
    "time.sleep",
    "asyncio.sleep",
    "requests.",
    "httpx.",
    "urllib.request.",
    "urllib3.",
    "http.client.",
    "aiohttp.",
    "boto3.",
    "socket.",
    "smtplib.",
    "ftplib.",
    "paramiko.",
    "subprocess.",
    "django.core.mail.",
    "os.system",
    "os.popen",
    "stripe.",
    "redis.",
)
SENDS_A_TASK = {"apply_async", "async_task", "delay", "enqueue", "send_task"}
AFTER_THE_COMMIT = "django.db.transaction.on_commit"
FIXTURES = {
    "django.core.management.call_command": "loaddata",
    "django.core.serializers.deserialize": "deserialize()",
}
SCHEMA_METHODS = {
    "add_constraint",
    "add_field",
    "add_index",
    "alter_db_table",
    "alter_field",
    "alter_index_together",
    "alter_unique_together",
    "create_model",
    "delete_model",
    "remove_constraint",
    "remove_field",
    "remove_index",
    "rename_index",
}


def waits(call: ast.Call, imported: Mapping[str, str]) -> str:
    """The full name of a call that waits for something other than the database; else empty."""
    name = full_name(call.func, imported)
    if name.rpartition(".")[2] in SENDS_A_TASK:
        return name
    return name if any(name == each or (each.endswith(".") and name.startswith(each)) for each in WAITS) else ""


def full_name(node: ast.expr, imported: Mapping[str, str]) -> str:
    """ "django.core.mail.send_mail", whatever was imported of it; empty for what wasn't imported."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in imported:
        return ""
    return ".".join([imported[node.id], *reversed(parts)])


def is_live_model(name: str, path: str) -> bool:
    """Is it a class imported from a module of models, other than Django's own modules?"""
    module, _, what = path.rpartition(".")
    if path.startswith(("django.db.", "django.contrib.postgres.")) or not what[:1].isupper():
        return False
    return "models" in module.split(".")


def is_given_the_database(call: ast.Call, known: Container[str], path: str) -> bool:
    """Does a function of the project's get the models, or the connection?"""
    if path.partition(".")[0] in {"django", *sys.stdlib_module_names}:
        return False
    names = {node.id for arg in call.args for node in ast.walk(arg) if isinstance(node, ast.Name)}
    names |= {node.id for word in call.keywords for node in ast.walk(word.value) if isinstance(node, ast.Name)}
    return any(name in ("apps", "schema_editor") or name in known for name in names)


def is_elsewhere(test: ast.expr) -> bool | None:
    """Does a condition select a backend that isn't PostgreSQL? None if it doesn't ask for the backend."""
    match test:
        case ast.Compare(ast.Attribute(attr="vendor"), [ast.Eq()], [ast.Constant(value=str(vendor))]):
            return vendor != "postgresql"
        case ast.Compare(ast.Attribute(attr="vendor"), [ast.NotEq()], [ast.Constant(value="postgresql")]):
            return True
    return None
