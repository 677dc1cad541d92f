"""What is in the sdist and in the wheel, and what they say of themselves."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

from safemigrations import __version__
from safemigrations.checking.catalogue import KINDS

from .conftest import ROOT


def test_both_can_be_uploaded(distributions):
    command = [sys.executable, "-m", "twine", "check", "--strict", *distributions.values()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_sdist_has_what_a_wheel_is_made_of_and_nothing_else(in_sdist):
    tops = {name.partition("/")[0] for name in in_sdist}
    files = {"CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
    assert tops - {".gitignore"} == {"docs", "safemigrations", *files}


def test_the_wheel_has_every_module_and_the_marker_of_types(in_wheel):
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "safemigrations").rglob("*.py")}
    assert modules - in_wheel == set()
    assert "safemigrations/py.typed" in in_wheel
    assert "safemigrations/events.schema.json" in in_wheel


def test_the_wheel_has_the_pages_but_no_picture(in_wheel):
    pages = {f"safemigrations/{path.relative_to(ROOT)}" for path in (ROOT / "docs").glob("*.md")}
    assert (pages | {"safemigrations/docs/llms.txt"}) - in_wheel == set()
    assert {Path(name).suffix for name in in_wheel} & {".png", ".svg"} == set()
    assert {f"safemigrations/docs/{kind.help.partition('#')[0]}" for kind in KINDS if kind.page} - in_wheel == set()


def test_the_metadata_says_what_it_is(distributions):
    with zipfile.ZipFile(distributions[".whl"]) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = message_from_string(archive.read(name).decode())
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "MIT"
    assert {"zero-downtime", "migrations", "postgresql"} <= set(metadata["Keywords"].split(","))
    assert metadata.get_payload().startswith("# safemigrations\n")  # type: ignore[union-attr]
