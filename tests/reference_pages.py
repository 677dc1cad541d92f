"""The second half of docs/commands.md from what argparse knows, and docs/operations.md from signatures and docstrings.

    DJANGO_SETTINGS_MODULE=tests.settings python -m tests.reference_pages

writes them anew; tests/test_reference.py says when that is needed.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import django
from django.core.management import load_command_class
from django.core.management.base import BaseCommand
from django.core.management.commands.migrate import Command as DjangoMigrate

from safemigrations import operations

DOCS = Path(__file__).resolve().parents[1] / "docs"

COMMANDS = """## Exit status

| exit status | means |
|---|---|
| 0 | It is done, or nothing was found. |
| 1 | An error, or something was found; the last line says what. |
| 2 | The command was typed wrongly. |
| 75 | Not now. Nothing is wrong: run the same command again later. |
| 130 | Somebody pressed Ctrl-C. What is done stays: run the same command again. |

## Every option

What follows is written from the commands themselves. Each also takes Django's own options, such as `--settings` and
`--verbosity`.
"""

MIGRATE = "Expand; run the contract; or go back. It takes what Django's `migrate` takes, and:"
OPERATIONS = """# Operations

This page is written from the signatures and docstrings. `makemigrations` writes these operations; the page of each
change says what it runs. Import them from `safemigrations.operations`. A migration that holds one has `atomic = False`.
"""


def commands() -> str:
    migrate = parser_of(load_command_class("safemigrations", "migrate"), "migrate")
    ours = parser_of(load_command_class("safemigrations", "safemigrations"), "safemigrations")
    django_s = {action.dest for action in parser_of(DjangoMigrate(), "migrate")._actions}
    own = [action for action in migrate._actions if action.dest not in django_s]
    parts = [_command("migrate", MIGRATE, own)]
    parts += [_command(name, text, parser._actions) for name, text, parser in subcommands("safemigrations", ours)]
    by_hand = (DOCS / "commands.md").read_text().partition("## Exit status\n")[0]
    return by_hand + "\n".join([COMMANDS, *parts])


def parser_of(command: BaseCommand, name: str) -> argparse.ArgumentParser:
    return command.create_parser("manage.py", name)


def subcommands(name: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Those that can be typed, with what `--help` says of them."""
    for group in parser._actions:
        if isinstance(group, argparse._SubParsersAction):
            helps = {action.dest: action.help or "" for action in group._choices_actions}
            for word, child in group.choices.items():
                below = list(subcommands(f"{name} {word}", child))
                yield from below or [(f"{name} {word}", helps.get(word, ""), child)]


def _command(name: str, text: str, actions: Iterable[argparse.Action]) -> str:
    rows = [_option(action) for action in actions if _is_told(action)]
    table = "| argument | default | |\n|---|---|---|\n" + "".join(rows) if rows else ""
    return "\n".join(part for part in (f"### `{name}`\n", f"{text}\n", table) if part)


def _is_told(action: argparse.Action) -> bool:
    return action.dest != "help" and action.help is not argparse.SUPPRESS


def _option(action: argparse.Action) -> str:
    default = "" if action.default in (None, False, "") else f"`{action.default}`"
    text = re.sub(r"\s+", " ", (action.help or "").replace("|", "\\|"))
    return f"| `{_typed(action)}` | {default} | {text} |\n"


def _typed(action: argparse.Action) -> str:
    names = ", ".join(action.option_strings)
    if action.nargs == 0:
        return names
    # Aliases of databases are the project's own.
    of_project = action.dest == "database"
    choices = "" if of_project or not action.choices else "\\|".join(map(str, action.choices))
    value = choices or (action.metavar if isinstance(action.metavar, str) else action.dest.upper())
    many = {"?": f"[{value}]", "*": f"[{value} …]", "+": f"{value} …"}.get(str(action.nargs), value)
    return f"{names} {many}".strip()


def operations_page() -> str:
    found = [getattr(operations, name) for name in operations.__all__]
    return "\n".join([OPERATIONS, *map(_operation, found)])


def _operation(operation: type[Any]) -> str:
    change = Path(inspect.getfile(operation.__init__)).stem
    arguments = [_argument(each) for each in list(inspect.signature(operation.__init__).parameters.values())[1:]]
    signature = f"{operation.__name__}(\n" + "".join(f"    {argument},\n" for argument in arguments) + ")"
    told = inspect.cleandoc(operation.__doc__ or "").replace("{}", "`{}`")
    return f"## `{operation.__name__}`\n\n```\n{signature}\n```\n\n{told}\n\nSee [{change}]({change}.md).\n"


def _argument(parameter: inspect.Parameter) -> str:
    default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
    return f"{parameter.name}: {str(parameter.annotation).strip(chr(39))}{default}"


PAGES = {"commands": commands, "operations": operations_page}


if __name__ == "__main__":
    django.setup()
    for page, written in PAGES.items():
        (DOCS / f"{page}.md").write_text(written())
