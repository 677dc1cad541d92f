"""What went wrong once, each as small as it can be shown."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections, models
from django.db.migrations import CreateModel
from django.db.models import F
from django.db.models.expressions import RawSQL
from django.test import override_settings

from safemigrations.errors import StepFailed
from safemigrations.operations import (
    AddFieldNullableThenBackfill,
    AddFieldWithDefault,
    AlterFieldConcurrently,
    AlterUniqueTogetherConcurrently,
    DropDefaultLater,
    RemoveConstraintLater,
    RemoveFieldLater,
    SetNotNullLater,
)
from safemigrations.plans import defaults
from safemigrations.plans.defaults import DefaultKind
from safemigrations.postgres.lock import Lock
from safemigrations.running.locking import locks
from safemigrations.running.locking.blockers import blockers

from .project import Project
from .shop import KEY, Shop, assert_is_read_back, book, file_of

BOOK = "class Book(models.Model):\n    title = models.CharField(max_length=50)\n"
NOTE = "    note = models.CharField(max_length=10, default='')\n"
INSERT = "INSERT INTO shop_book (title) VALUES ('Emma')"


def released(project: Project, *releases: str) -> Project:
    """One release after the other, each migrated as far as its servers start; no contract."""
    for models_of_release in releases:
        project.write_models("shop", models_of_release)
        project.manage("makemigrations", "shop").check()
        project.manage("migrate").check()
    return project


def by_hand(project: Project, name: str, operation: str, *, after: str, head: str = "", options: str = "") -> None:
    project.write_migration(
        "shop",
        name,
        f"from django.db import migrations, models\n{head}"
        f"class Migration(migrations.Migration):\n{options}"
        f"    dependencies = [('shop', '{after}')]\n"
        f"    operations = [{operation}]\n",
    )


def alter_note(field: str) -> str:
    return f"migrations.AlterField('book', 'note', models.CharField({field}, default=''))"


def type_of(project: Project, column: str) -> str:
    query = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'shop_book'::regclass"
    ((found,),) = project.sql(f"{query} AND attname = '{column}'")
    return str(found)


def default_of(project: Project, column: str) -> str | None:
    query = "SELECT column_default FROM information_schema.columns WHERE table_name = 'shop_book'"
    ((found,),) = project.sql(f"{query} AND column_name = '{column}'")
    return found  # type: ignore[no-any-return]


# What one release removes together.


@pytest.mark.parametrize("field", ["ForeignKey('Author', models.CASCADE)", "ManyToManyField('Author')"])
def test_a_relation_and_the_model_that_it_points_at_are_removed_in_one_release(project, field):
    author = "class Author(models.Model):\n    pass\n\n\n"
    released(project, f"{author}{BOOK}    author = models.{field}\n", BOOK)
    assert project.sql("SELECT status FROM safemigrations_contract") == [("pending",), ("pending",)]

    project.migrate_and_contract()
    assert project.sql("SELECT status FROM safemigrations_contract") == [("done",), ("done",)]
    assert project.sql("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^shop_'") == [("shop_book",)]
    project.sql(INSERT)


def test_a_model_is_made_beside_the_rename_of_the_one_that_it_points_at(project):
    """Its foreign key is made at the end of the migration, when the name that it was to refer to has gone."""
    released(project, BOOK)
    by_hand(
        project,
        "0002_loan_and_tale",
        "migrations.CreateModel('Loan', [('id', models.BigAutoField(primary_key=True)),"
        " ('book', models.ForeignKey('shop.Book', models.CASCADE))]), ExpandRenameModel('Book', 'Tale')",
        after="0001_initial",
        head="from safemigrations.operations import ExpandRenameModel\n",
        options="    atomic = False\n",
    )
    project.manage("migrate").check()
    ((parent,),) = project.sql(
        "SELECT confrelid::regclass::text FROM pg_constraint WHERE conrelid = 'shop_loan'::regclass AND contype = 'f'"
    )
    assert parent == "shop_tale"
    project.migrate_and_contract()


def test_a_foreign_key_that_becomes_text_behind_the_view_of_a_renamed_table_waits_for_the_contract(project):
    author = "class Author(models.Model):\n    pass\n\n\n"
    released(project, f"{author}{BOOK}    author = models.ForeignKey(Author, models.CASCADE)\n")
    by_hand(
        project,
        "0002_tale",
        "ExpandRenameModel('Book', 'Tale')",
        after="0001_initial",
        head="from safemigrations.operations import ExpandRenameModel\n",
        options="    atomic = False\n",
    )
    by_hand(project, "0003_name", "migrations.AlterField('tale', 'author', models.TextField())", after="0002_tale")
    project.manage("migrate", "shop", "0002").check()
    stopped = project.manage("migrate")
    assert "of shop_tale still belongs to the contract of shop.0002_tale" in stopped.stderr
    project.manage("migrate", "shop", "0002", "--contract").check()
    project.migrate_and_contract()


@pytest.mark.parametrize("index", ["", ", db_index=True"])
def test_a_type_that_changes_behind_the_view_of_a_renamed_table_waits_for_the_contract(project, index):
    released(project, BOOK.replace("=50)", f"=50{index})"))
    by_hand(
        project,
        "0002_tale",
        "ExpandRenameModel('Book', 'Tale')",
        after="0001_initial",
        head="from safemigrations.operations import ExpandRenameModel\n",
        options="    atomic = False\n",
    )
    project.manage("migrate").check()
    project.write_models(
        "shop", BOOK.replace("Book", "Tale").replace("CharField(max_length=50)", f"TextField({index[2:]})")
    )
    project.manage("makemigrations", "shop").check()
    stopped = project.manage("migrate")
    assert stopped.returncode
    assert "The view of shop_tale still belongs to the contract of shop.0002_tale" in stopped.stderr
    project.manage("migrate", "shop", "0002", "--contract").check()
    project.migrate_and_contract()
    project.manage("migrate").check()


def test_new_code_inserts_rows_where_a_field_is_removed_with_its_unique_constraint(database):
    one = models.UniqueConstraint(fields=["code"], name="one_code")
    shop = Shop(database, book(("code", models.TextField()), constraints=[one]))
    shop.migrate(RemoveConstraintLater("book", "one_code"), RemoveFieldLater("book", "code"))
    _two_rows_of_new_code(shop)


def test_new_code_inserts_rows_where_a_field_is_removed_with_its_unique_together(database):
    together = {("code", "shelf")}
    shelf = models.IntegerField(db_default=1)
    shop = Shop(database, book(("code", models.TextField()), ("shelf", shelf), unique_together=together))
    shop.migrate(AlterUniqueTogetherConcurrently("book", set()), RemoveFieldLater("book", "code"))
    _two_rows_of_new_code(shop)


def _two_rows_of_new_code(shop: Shop) -> None:
    Book = shop.model()
    for title in ("Emma", "Evelina"):
        Book.objects.create(title=title)
    shop.contract()
    assert shop.left() == []
    assert Book.objects.count() == 2


# Stock operations beside an open contract, and beside others who hold the table.


def test_a_column_that_a_contract_is_about_may_be_widened(project):
    released(project, BOOK, BOOK + NOTE)
    _, second = project.migration_files("shop")
    by_hand(project, "0003_wider", alter_note("max_length=99"), after=second)
    project.manage("migrate").check()
    assert type_of(project, "note") == "character varying(99)"
    project.sql(INSERT)  # the old release's, which counts on the default

    project.migrate_and_contract()
    assert default_of(project, "note") is None


def test_a_column_that_a_contract_is_about_cannot_be_made_nullable(project):
    released(project, BOOK, BOOK + NOTE)
    _, second = project.migration_files("shop")
    by_hand(project, "0003_null", alter_note("max_length=10, null=True"), after=second)
    refused = project.manage("migrate")
    assert refused.returncode == 1
    assert (
        f"The column note of shop_book still belongs to the contract of shop.{second} (drop the database default of "
        "note of shop_book). Nothing was changed. When no server runs the release before that migration any more, "
        "type: python manage.py migrate shop 0002_book_note --contract --only"
    ) in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_stock_operation_that_lost_against_a_lock_is_really_done_and_really_reversed(project, other_connection):
    released(project, BOOK + NOTE)
    (first,) = project.migration_files("shop")
    by_hand(project, "0002_number", alter_note("max_length=99"), after=first)
    for target, expected in (("0002_number", "character varying(99)"), (first, "character varying(10)")):
        with other_connection.transaction():
            other_connection.execute("SELECT FROM shop_book")
            migrating = project.start("migrate", "shop", target)
            migrating.read_until("waiting for pid")  # has lost for the first time
        migrating.wait().check()
        assert type_of(project, "note") == expected
        assert project.sql("SELECT max(name) FROM django_migrations WHERE app = 'shop'") == [(target,)]


def test_an_operation_of_somebody_else_may_call_its_fields_as_it_likes(project):
    released(project, BOOK)
    (first,) = project.migration_files("shop")
    project.write(
        "shop/operations.py",
        "from django.db.migrations.operations.base import Operation\n"
        "class Comment(Operation):\n"
        "    fields, field, model_name = ['title'], 'title', None\n"
        "    def state_forwards(self, app_label, state): pass\n"
        "    def database_forwards(self, app_label, editor, before, after):\n"
        "        editor.execute(\"COMMENT ON COLUMN shop_book.title IS 'Emma'\")\n",
    )
    by_hand(project, "0002_comment", "Comment()", after=first, head="from shop.operations import Comment\n")
    project.manage("migrate").check()
    assert project.sql("SELECT col_description('shop_book'::regclass, 2)") == [("Emma",)]


# Databases and migration files with a past.


def test_after_fake_initial_a_default_stays_for_the_release_that_runs_on_these_tables(project):
    released(project, BOOK)
    project.sql("DROP TABLE django_migrations")
    project.write_models("shop", BOOK + NOTE)
    project.manage("makemigrations", "shop").check()
    project.manage("migrate", "--fake-initial").check()
    assert default_of(project, "note") is not None
    project.sql(INSERT)


def test_what_a_migration_left_is_done_though_it_has_been_squashed_and_pruned(project):
    released(project, BOOK, BOOK + NOTE)
    first, second = project.migration_files("shop")
    project.manage("squashmigrations", "shop", second, "--noinput").check()
    (squashed,) = set(project.migration_files("shop")) - {first, second}
    project.manage("migrate").check()
    text = "\n".join(line for line in project.read_migration("shop", squashed).splitlines() if "replaces" not in line)
    project.write_migration("shop", squashed, text)
    for name in (first, second):
        (project.folder / "shop" / "migrations" / f"{name}.py").unlink()
    project.manage("migrate", "shop", "--prune").check()
    assert project.sql("SELECT name FROM django_migrations WHERE app = 'shop'") == [(squashed,)]

    project.manage("migrate", "--contract").check()
    assert default_of(project, "note") is None


def test_what_a_release_left_stays_open_when_the_contract_of_the_next_one_fails(database):
    shop = Shop(database, book())
    shop.migrate(AddFieldWithDefault("book", "note", models.TextField(default="")))
    shop.migrate(RemoveFieldLater("book", "note"))
    both = ["drop the database default of note of shop_book", "drop note of shop_book"]
    shop.execute("CREATE VIEW notes AS SELECT note FROM shop_book")
    with pytest.raises(StepFailed, match="other objects depend on it"):
        shop.contract()
    assert shop.left() == both

    shop.execute("DROP VIEW notes")
    shop.contract()
    assert shop.left() == []


def test_an_operation_of_the_project_is_written_with_its_own_module():
    operation = OfTheProject("book", "note", models.TextField(default=""))
    text = file_of(operation)
    assert f"import {__name__}\n" in text
    assert f"        {__name__}.OfTheProject(\n" in text
    assert_is_read_back(operation)


class OfTheProject(AddFieldWithDefault):
    """As a project may make it for itself."""


@pytest.mark.parametrize(
    "operation",
    [
        "migrations.AddIndex('book', models.Index(fields=['title'], name='book_title'))",
        "migrations.AlterUniqueTogether('book', {('id', 'title')})",
    ],
)
def test_a_second_initial_migration_may_do_all_that_the_first_may(project, operation):
    project.write_models("shop", BOOK)
    project.manage("makemigrations", "shop").check()
    (first,) = project.migration_files("shop")
    by_hand(project, "0002_initial", operation, after=first, options="    initial = True\n")
    project.manage("check").check()


# Values.

computed: list[str] = []


def shout(row: Any) -> str:
    """The title in capitals; meanwhile somebody else, who doesn't wait for long, gives "Emma" another one."""
    computed.append(row.title)
    if row.title == "Emma":
        other = connections["default"].copy()
        try:
            with other.cursor() as cursor:
                cursor.execute("SET lock_timeout = '5s'")
                cursor.execute("UPDATE shop_book SET title = 'Evelina' WHERE title = 'Emma'")
        finally:
            other.close()
    return str(row.title).upper()


def test_a_function_computes_while_no_row_is_locked_and_again_for_a_row_that_changed(database):
    shop = Shop(database, book())
    shop.execute("INSERT INTO shop_book (title) VALUES ('Belinda'), ('Emma')")
    computed.clear()
    shop.migrate(AddFieldNullableThenBackfill("book", "shout", models.TextField(), backfill=shout))
    assert shop.execute("SELECT title, shout FROM shop_book ORDER BY 1") == [
        ("Belinda", "BELINDA"),
        ("Evelina", "EVELINA"),
    ]
    assert sorted(computed) == ["Belinda", "Emma", "Evelina"]


def test_rows_of_old_code_are_filled_from_a_generated_column(database):
    double = models.GeneratedField(expression=F("pages") * 2, output_field=models.IntegerField(), db_persist=True)
    shop = Shop(database, book(("pages", models.IntegerField()), ("double", double)))
    old = shop.model()
    old.objects.create(title="there", pages=3)
    shop.migrate(AddFieldNullableThenBackfill("book", "more", models.IntegerField(), backfill=F("double") + 1))
    old.objects.create(title="of the old release", pages=4)
    assert shop.execute("SELECT more FROM shop_book ORDER BY id") == [7, 9]
    shop.contract()
    assert shop.columns()["more"] == "integer NOT NULL"


def test_sql_that_nobody_can_read_is_taken_for_volatile():
    assert defaults.kind(models.TextField(db_default=RawSQL("clock_timestamp()::text", ()))) is DefaultKind.VOLATILE


class Json(models.TextField):  # type: ignore[type-arg]
    """A text that the old release could not read if it were empty."""

    def from_db_value(self, value: Any, *args: Any) -> Any:
        return None if value is None else json.loads(value)


def test_a_field_that_converts_what_it_reads_gets_no_empty_text(database):
    shop = Shop(database, CreateModel("Book", [KEY, ("plain", models.TextField()), ("converted", Json())]))
    shop.migrate(RemoveFieldLater("book", "plain"), RemoveFieldLater("book", "converted"))
    columns = shop.columns()
    assert columns["plain"] == "text NOT NULL DEFAULT ''::text"
    assert columns["converted"] == "text"


# Who may see what.


@pytest.fixture
def restricted(database):
    """The connection of a role that sees of others' sessions only that they are there."""
    role = f"restricted_{uuid4().hex}"  # roles belong to the whole server
    with database.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {role}; SET ROLE {role}")
        yield database
        cursor.execute(f"RESET ROLE; DROP ROLE {role}")


@override_settings(SAFEMIGRATIONS={"LOCK_RETRY_FOR": 10})
def test_a_role_that_sees_little_measures_itself_how_old_a_transaction_is(restricted, other_connection):
    other_connection.execute("CREATE TABLE item (id int)")
    other_connection.execute("BEGIN")
    other_connection.execute("LOCK TABLE item IN ACCESS SHARE MODE")
    wanted = {'"item"': Lock.ACCESS_EXCLUSIVE}
    told: list[Any] = []
    tries = locks.attempts(restricted, wanted, lambda who, seconds: told.append(who))
    next(attempt for attempt in tries if told and told[-1][0].is_long)
    ((measured,), (seen,)) = told[-1], blockers(restricted, wanted)
    assert seen.pid == measured.pid == other_connection.info.backend_pid
    assert seen.age == 0  # as PostgreSQL tells this role
    assert measured.is_long


# An alteration that the open contract of an earlier migration would undo.

NULLABLE = models.CharField(max_length=5, null=True)
REWORKED = {
    "null": (
        SetNotNullLater("book", "code", models.CharField(max_length=5), backfill="x"),
        AlterFieldConcurrently("book", "code", models.CharField(max_length=5, null=True, db_index=True)),
    ),
    "default": (
        DropDefaultLater("book", "state", models.CharField(max_length=5)),
        AlterFieldConcurrently("book", "state", models.CharField(max_length=5, db_default="b", db_index=True)),
    ),
}


@pytest.mark.parametrize("name", REWORKED)
def test_a_column_that_an_open_contract_decides_about_is_not_altered_otherwise(database, name):
    state = models.CharField(max_length=5, db_default="a")
    shop = Shop(database, book(("code", NULLABLE), ("state", state)))
    first, second = REWORKED[name]
    shop.migrate(first)
    with pytest.raises(StepFailed, match=r"still belongs to the contract of shop\.0002"):
        shop.migrate(second)
    shop.contract()
    shop.migrate(second)


def test_an_index_on_a_column_that_an_open_contract_forbids_null_in_is_built(database):
    shop = Shop(database, book(("code", NULLABLE)))
    shop.migrate(SetNotNullLater("book", "code", models.CharField(max_length=5), backfill="x"))
    shop.migrate(AlterFieldConcurrently("book", "code", models.CharField(max_length=5, db_index=True)))
    shop.contract()
    assert "NOT NULL" in shop.columns()["code"]
