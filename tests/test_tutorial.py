"""Types docs/tutorial.md: each file is written, each command run, and what it prints compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from testproject.postgres import settings_for

from . import processes

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(console|py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# A virtual environment and the server are here already.
NOT_TYPED = re.compile(r"\bvenv\b|^pip |pgserver|^export ")
END = "--- end of a command ---"


def parts(page: Path = PAGE) -> Iterator[tuple[str, str]]:
    """Files by their path, with their text, and commands, with what they print."""
    text = page.read_text()
    for block in BLOCK.finditer(text):
        if block[1] == "py":
            yield re.findall(r"Write `(\S+\.py)`", text[: block.start()])[-1], block[2]
        else:
            for typed in re.split(r"^\$ ", block[2], flags=re.MULTILINE)[1:]:
                command, _, printed = typed.partition("\n")
                yield f"$ {command}", printed


class Shell:
    """One that stays: it remembers its folder, and what runs in the background."""

    def __init__(self, folder: Path) -> None:
        self.process = processes.start(
            ["bash"],
            cwd=folder,
            env={
                **{name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "PYTHONPATH": str(PAGE.parents[1]),
                "PYTHONUNBUFFERED": "1",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def type(self, command: str, answer: str = "") -> str:
        assert self.process.stdin
        assert self.process.stdout
        given = f"{command} <<< '{answer}'" if answer else command
        self.process.stdin.write(f"{given}\necho '{END}'\n")
        self.process.stdin.flush()
        lines = iter(self.process.stdout.readline, "")
        return "".join(line for line in iter(lambda: next(lines, f"{END}\n"), f"{END}\n"))


# What the page says that one may also see: a step waits for a request; and what a session does at the moment of a look.
WAITS = re.compile(
    r"^ +(\w+: waiting for|waiting:|slower:) .*\n|, of which [\d.]+ s waiting.*| Waited [\d.]+ s for .*", re.MULTILINE
)
SESSION = re.compile(r"(connected for) [^,\n]+, (active|idle) for .*")


def plain(printed: str) -> str:
    """Without what differs from one run to the next; how many errors there were does not."""
    text = re.sub(r"release [0-9a-f]{8}\b", "release R", printed.replace("[y/N] y\n", "[y/N] "))
    text = SESSION.sub(r"\1 N s", WAITS.sub("", re.sub(r"is open on .*", "is open here", text)))
    return re.sub(r" +", " ", re.sub(r"(?<![\w.])\d[\d,.]*(?! error)\b", "N", text)).strip()


def test_what_the_moment_adds_is_left_out():
    """Whoever is in the way, and whatever a session does when it is looked at."""
    line = "    pid 1782  postgres  release 11fa9bcb  connected for {}\n"
    assert plain(line.format("14 s, idle for 0 s")) == plain(line.format("2 min, active for 1 s"))
    assert plain(line.format("14 s, idle for 0 s")) != plain(line.format("14 s, idle in transaction for 0 s"))
    done = "    shop_book: add column name    0.12 s{}\n    OK\nDone in 0.45 s: 1 migration, 5 steps.{}\n"
    waited = ", of which 0.2 s waiting for pid 12 (manage.py)", " Waited 0.20 s for locks: shop_book: add column name."
    assert plain(f"      shop_book: waiting for pid 12 (manage.py, idle for 3 s)\n{done.format(*waited)}") == plain(
        done.format("", "")
    )
    assert plain("title: 586 requests, 0 errors") != plain("title: 586 requests, 1 errors")


def test_the_tutorial(database, dsn, tmp_path):
    entry = settings_for(dsn, str(conninfo_to_dict(dsn)["dbname"]))
    shell = Shell(tmp_path)
    shell.type(f"mkdir {tmp_path}/tutorial && cd {tmp_path}/tutorial")
    for what, text in parts():
        if not what.startswith("$ "):
            written = f"DATABASES = {{'default': {entry!r}}}\nSAFEMIGRATIONS = {{'GATE_WATCH': 0}}\n"
            end = written if what.endswith("settings.py") else ""
            folder = Path(shell.type("pwd").strip())
            (folder / what).write_text(text + end)
        elif not NOT_TYPED.search(command := what.removeprefix("$ ")):
            printed = shell.type(command, "y" if "[y/N] y\n" in text else "")
            assert plain(printed) == plain(text), what
    shell.process.communicate(timeout=60)
