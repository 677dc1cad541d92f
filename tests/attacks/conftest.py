"""Deployments, and roles of the server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from ..conftest import drop_left_databases
from ..tried import tried

if TYPE_CHECKING:
    from .deployment import Deployment

Role = Callable[..., str]


@pytest.fixture
def shop(dsn: str, tmp_path: Path) -> Iterator[Deployment]:
    """An app without a release, on an empty database."""
    from .deployment import deployment  # with models: this module is read before Django is set up

    with deployment(tmp_path, dsn) as made:
        yield made


@pytest.fixture
def books(shop: Deployment) -> Deployment:
    """An app whose first release has authors and books."""
    from .library import library  # see shop()

    return library(shop)


@pytest.fixture(scope="session")
def role() -> Iterator[Role]:
    """A function that makes a role, once for each name; roles belong to the whole server, so it adds a number."""
    made: dict[str, str] = {}

    def make(name: str, options: str = "") -> str:
        if name not in made:
            made[name] = f"{name}_{uuid4().hex[:8]}"
            on_server(f'CREATE ROLE "{made[name]}" {options}')
            tried("roles")
        return made[name]

    yield make
    drop_left_databases()  # they hold what these roles own
    for name in reversed(made.values()):
        on_server(f'DROP ROLE "{name}"')


def on_server(statement: str) -> None:
    on_database(os.environ["SAFEMIGRATIONS_TEST_DSN"], statement)


def on_database(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement)


@pytest.fixture
def owner(role: Role, dsn: str, database: Any) -> str:
    """A role that may create tables here, and nothing else."""
    name = role("owner")
    on_database(dsn, f'GRANT ALL ON SCHEMA public TO "{name}"')
    return name
