"""RenameField -> ExpandRename."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.contrib.postgres.functions import RandomUUID
from django.db import IntegrityError, connection, models
from django.db.migrations import (
    AddConstraint,
    AddField,
    AddIndex,
    AlterField,
    AlterOrderWithRespectTo,
    CreateModel,
    Migration,
    RemoveConstraint,
    RemoveField,
    RemoveIndex,
    RenameField,
)
from django.db.migrations.state import ProjectState
from django.db.models import CheckConstraint, F, Index, Q, UniqueConstraint, Value
from django.db.models.functions import Now, Upper
from django.test import override_settings

from safemigrations.contracts import queue
from safemigrations.errors import StepFailed
from safemigrations.operations import (
    AddFieldWithDefault,
    AddIndexConcurrently,
    AlterFieldConcurrently,
    AlterUniqueTogetherConcurrently,
    ExpandAlterField,
    ExpandAlterModelTable,
    ExpandRename,
    ExpandRenameModel,
    FollowRename,
    RemoveFieldLater,
    RemoveIndexLater,
    SetNotNullLater,
)
from safemigrations.operations.written import written
from safemigrations.plans.steps import Proof
from safemigrations.postgres.names import name_of_copy
from safemigrations.running import proofs
from safemigrations.running.session import Session

from .cases import written as as_makemigrations_writes
from .shop import (
    AWKWARD,
    CATCH_UP,
    KEY,
    LIBRARY,
    Nowhere,
    Shop,
    assert_does_what_stock_does,
    assert_is_read_back,
    book,
    file_of,
    optimized,
    quoted,
    sqlite,
)
from .snapshot import difference, snapshot

RENAME = ExpandRename("book", "title", "name")
EXTRA = ExpandRename("book", "extra", "more")


def with_extra(field: Any, **options: Any) -> CreateModel:
    return book(("extra", field), **options)


# The exact plan.

DIFFER = 'pg_catalog.record_image_ne(ROW("title"), ROW("name"))'


def lines(text: str, *starts: str) -> list[str]:
    """The reasons, and the statements that begin like this."""
    return [line for line in text.splitlines() if line.startswith(("-- ", *starts))]


def test_the_plan(database):
    shop = Shop(database, book())
    shop.execute("CREATE INDEX by_title ON shop_book (title)")
    plan, copy = shop.plan(RENAME), name_of_copy('"shop_book"', "USING btree (name)")
    assert lines(plan, "ALTER", "UPDATE", "CREATE OR REPLACE TRIGGER", "CREATE INDEX")[:9] == [
        ("-- shop_book: no trigger, rule or partition of yours waits for writes of title (looked up when it is run)"),
        "-- shop_book: add column name, and a trigger that keeps it equal to title",
        'ALTER TABLE "shop_book" ADD COLUMN "name" varchar(100) NULL;',
        (
            'CREATE OR REPLACE TRIGGER "zzz_safemig_3_shop_book_name_sync" BEFORE INSERT OR UPDATE ON "shop_book" FOR '
            'EACH ROW WHEN (pg_catalog.record_image_ne(ROW(NEW."title"), ROW(NEW."name"))) EXECUTE '
            'FUNCTION "safemig_shop_book.name.sync"();'
        ),
        'ALTER TABLE "shop_book" ENABLE ALWAYS TRIGGER "zzz_safemig_3_shop_book_name_sync";',
        "-- shop_book: copy title to name",
        f'UPDATE "shop_book" SET "name" = "title" WHERE {DIFFER};',
        "-- shop_book: index by_title for name too",
        f'CREATE INDEX CONCURRENTLY "{copy}" ON "shop_book" USING btree (name);',
    ]
    assert plan.endswith(
        "--   shop_book: drop the twin name; from now on title is called name\n"
        '--   DROP TRIGGER IF EXISTS "zzz_safemig_3_shop_book_name_sync" ON "shop_book";\n'
        '--   DROP FUNCTION IF EXISTS "safemig_shop_book.name.sync"();\n'
        '--   ALTER TABLE "shop_book" DROP COLUMN IF EXISTS "name";\n'
        '--   ALTER TABLE "shop_book" RENAME COLUMN "title" TO "name";'
    )
    assert shop.plan(RENAME, backwards=True) == (
        "-- shop_book: name is called title again\n"
        'ALTER TABLE "shop_book" RENAME COLUMN "name" TO "title";\n'
        "-- shop_book: what later migrations gave name goes to the column that stays (looked up when it is run)\n"
        "-- shop_book: drop column name and the trigger that kept it equal to title\n"
        'DROP TRIGGER IF EXISTS "zzz_safemig_3_shop_book_name_sync" ON "shop_book";\n'
        'DROP FUNCTION IF EXISTS "safemig_shop_book.name.sync"();\n'
        'ALTER TABLE "shop_book" DROP COLUMN IF EXISTS "name";'
    )


# Forwards.


def both(shop: Shop) -> list[Any]:
    """Each row under both names."""
    return shop.execute("SELECT extra, more FROM shop_book ORDER BY id")


def test_each_release_reads_what_the_other_writes(database):
    shop = Shop(database, with_extra(models.CharField(max_length=50)))
    old = shop.model()
    old.objects.create(title="there", extra="before")
    shop.migrate(EXTRA)
    new = shop.model()
    old.objects.create(title="old", extra="old")
    new.objects.create(title="new", more="new")
    old.objects.bulk_create([old(title="old", extra="olds")])
    new.objects.bulk_create([new(title="new", more="news")])
    written = ["before", "old", "new", "olds", "news"]
    assert both(shop) == [(value, value) for value in written]
    old.objects.filter(title="new").update(extra=models.functions.Concat("extra", models.Value("!")))
    new.objects.exclude(title="new").update(more=Upper("more"))
    row = new.objects.get(title="there")
    row.more = row.title
    row.save()
    expected = ["there", "OLD", "new!", "OLDS", "news!"]
    assert [row.extra for row in old.objects.order_by("id")] == expected
    assert [row.more for row in new.objects.order_by("id")] == expected

    shop.contract()
    assert [row.more for row in new.objects.order_by("id")] == expected
    assert shop.columns() == {
        "id": "bigint NOT NULL",
        "title": "character varying(100) NOT NULL",
        "more": "character varying(50) NOT NULL",
    }
    assert shop.triggers() == []


NULLABLE: dict[str, Any] = {
    "constant": models.IntegerField(null=True, db_default=7),
    "moment": models.DateTimeField(null=True, db_default=Now()),
    "text": models.CharField(max_length=5, null=True, db_default="it's"),
}


@pytest.mark.parametrize("what", NULLABLE)
def test_an_explicit_null_is_told_from_the_default(database, what):
    shop = Shop(database, with_extra(NULLABLE[what]))
    old = shop.model()
    shop.migrate(EXTRA)
    new = shop.model()
    old.objects.create(title="null", extra=None)
    new.objects.create(title="null", more=None)
    old.objects.create(title="default")
    new.objects.create(title="default")
    assert both(shop)[:2] == [(None, None)] * 2
    for first, second in both(shop)[2:]:
        assert first == second
        assert first is not None
    before = both(shop)
    shop.contract()
    assert shop.execute("SELECT more FROM shop_book ORDER BY id") == [value for value, _ in before]


def test_a_volatile_default_gives_both_the_same_value(database):
    shop = Shop(database, with_extra(models.UUIDField(db_default=RandomUUID())))
    old = shop.model()
    shop.migrate(EXTRA)
    old.objects.create(title="old")
    shop.model().objects.create(title="new")
    assert all(first == second is not None for first, second in both(shop))


def test_copy_and_upserts(database):
    shop = Shop(database, with_extra(models.CharField(max_length=50, unique=True)))
    old = shop.model()
    shop.migrate(EXTRA)
    new = shop.model()
    with connection.cursor() as cursor:
        with cursor.copy("COPY shop_book (title, extra) FROM STDIN") as copy:
            copy.write_row(("copied", "old"))
        with cursor.copy("COPY shop_book (title, more) FROM STDIN") as copy:
            copy.write_row(("copied", "new"))
    for model, name in ((old, "extra"), (new, "more")):
        for key in ("old", "new", f"by {name}"):
            model.objects.bulk_create(
                [model(title=name, **{name: key})],
                update_conflicts=True,
                unique_fields=[name],
                update_fields=["title"],
            )
    assert both(shop) == [("old", "old"), ("new", "new"), ("by extra", "by extra"), ("by more", "by more")]
    assert set(new.objects.order_by("id").values_list("title", flat=True)[:2]) == {"more"}
    with pytest.raises(IntegrityError):
        new.objects.create(title="twice", more="by extra")


def test_upserts_where_the_same_column_has_a_plain_index_too(database):
    shop = Shop(database, with_extra(models.IntegerField(db_index=True)))
    shop.migrate(AddConstraint("book", UniqueConstraint(fields=["extra"], name="once")))
    shop.migrate(EXTRA)
    new = shop.model()
    for title in ("a", "b"):
        new.objects.bulk_create(
            [new(title=title, more=1)], update_conflicts=True, unique_fields=["more"], update_fields=["title"]
        )
    assert new.objects.get().title == "b"


class JSONText(models.TextField):  # type: ignore[type-arg]
    """PostgreSQL's json: there is no `=` for it."""

    def db_type(self, connection: Any) -> str:
        return "json"


class AnyNumber(models.TextField):  # type: ignore[type-arg]
    def db_type(self, connection: Any) -> str:
        return "numeric"


EQUAL_BUT_DIFFERENT: dict[str, tuple[Any, Any, Any]] = {
    "float": (models.FloatField(), "0", "-0"),
    "json": (JSONText(), '{"a":1}', '{"a": 1}'),
    "numeric": (AnyNumber(), "1.0", "1.00"),
}


@pytest.mark.parametrize("what", EQUAL_BUT_DIFFERENT)
def test_values_that_count_as_equal_or_cannot_be_compared(database, what):
    field, first, second = EQUAL_BUT_DIFFERENT[what]
    shop = Shop(database, with_extra(field))
    shop.execute(f"INSERT INTO shop_book (title, extra) VALUES ('', '{first}'), ('', '{first}')")
    shop.migrate(EXTRA)
    shop.execute(f"UPDATE shop_book SET extra = '{second}' WHERE id = 1")
    shop.execute(f"UPDATE shop_book SET more = '{second}' WHERE id = 2")
    assert shop.execute("SELECT extra::text, more::text FROM shop_book") == [(second, second)] * 2
    shop.contract()
    assert shop.execute("SELECT more::text FROM shop_book") == [second] * 2


def test_rows_that_the_backfill_has_not_reached_yet_are_written_by_both(database):
    """Where a write touches neither column, the row is left to the backfill."""
    shop = Shop(database, with_extra(models.IntegerField()))
    shop.execute("INSERT INTO shop_book (title, extra) VALUES ('', 1), ('', 2)")
    shop.migrate(EXTRA)
    shop.execute("ALTER TABLE shop_book DISABLE TRIGGER USER; UPDATE shop_book SET more = NULL")
    shop.execute("ALTER TABLE shop_book ENABLE ALWAYS TRIGGER zzz_safemig_3_shop_book_more_sync")
    shop.execute("UPDATE shop_book SET title = 'x' WHERE id = 1; UPDATE shop_book SET extra = 3 WHERE id = 2")
    assert both(shop) == [(1, None), (3, 3)]


def test_the_projects_own_trigger_comes_first(database):
    shop = Shop(database, with_extra(models.CharField(max_length=9)))
    old = shop.model()
    shop.execute(
        "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.extra := upper(NEW.extra); RETURN NEW; END $$;"
        "CREATE TRIGGER zebra BEFORE INSERT OR UPDATE ON shop_book FOR EACH ROW EXECUTE FUNCTION shout()"
    )
    shop.migrate(EXTRA)
    old.objects.create(title="", extra="quiet")
    assert both(shop) == [("QUIET", "QUIET")]


def test_what_replication_and_loaders_write_is_equal_too(database, other_connection):
    shop = Shop(database, with_extra(models.IntegerField()))
    shop.migrate(EXTRA)
    other_connection.execute("SET session_replication_role = replica")
    other_connection.execute("INSERT INTO shop_book (title, extra) VALUES ('old', 1)")
    other_connection.execute("INSERT INTO shop_book (title, extra, more) VALUES ('both', 2, 2)")
    assert both(shop) == [(1, 1), (2, 2)]


INDEXES = [
    "CREATE INDEX by_hand ON shop_book (upper(extra), title DESC) WITH (fillfactor = 70) WHERE extra > 'extra'",
    "CREATE UNIQUE INDEX by_hand ON shop_book (extra varchar_pattern_ops) INCLUDE (title) NULLS NOT DISTINCT",
    "CREATE INDEX by_hand ON shop_book USING hash (extra)",
    "ALTER TABLE shop_book ADD CONSTRAINT by_hand UNIQUE (extra, title) DEFERRABLE INITIALLY DEFERRED",
    "ALTER TABLE shop_book ADD CONSTRAINT by_hand EXCLUDE USING btree (extra WITH =)",
    """CREATE INDEX "by USING hand" ON shop_book (extra) WHERE title = ' USING extra'""",
]


@pytest.mark.parametrize("index", INDEXES)
def test_an_index_that_was_made_by_hand_is_there_under_both_names_and_at_the_end(database, index):
    shop = Shop(database, with_extra(models.CharField(max_length=9)))
    shop.execute(index)
    before = snapshot(connection)
    plain = {name: text for name, text in shop.indexes().items() if not name.startswith("safemig")}
    shop.migrate(EXTRA)
    copies = [text for name, text in shop.indexes().items() if name.startswith("safemig_twin_")]
    assert len(copies) == len(plain) == 1
    shop.contract()
    assert list(shop.indexes()) == list(plain)
    (index,) = shop.indexes().values()
    assert index.endswith(copies[0])
    shop.back()
    assert difference(before, snapshot(connection)) == {}


def test_two_swap_a_value_that_is_unique_at_commit(database):
    shop = Shop(database, with_extra(models.IntegerField()))
    shop.execute("ALTER TABLE shop_book ADD UNIQUE (extra) DEFERRABLE INITIALLY DEFERRED")
    shop.execute("INSERT INTO shop_book (title, extra) VALUES ('', 1), ('', 2)")
    shop.migrate(EXTRA)
    shop.execute("UPDATE shop_book SET extra = 3 - extra; UPDATE shop_book SET more = 3 - more")
    assert sorted(both(shop)) == [(1, 1), (2, 2)]


def test_a_role_that_may_read_the_column_may_read_its_twin(database):
    shop = Shop(database, with_extra(models.IntegerField()))
    shop.execute("GRANT SELECT (extra), UPDATE (extra) ON shop_book TO pg_monitor WITH GRANT OPTION")
    shop.execute("GRANT SELECT (extra) ON shop_book TO PUBLIC")
    shop.migrate(EXTRA)
    acl = "SELECT attacl::text FROM pg_attribute WHERE attrelid = 'shop_book'::regclass AND attname = '{}'"
    assert shop.execute(acl.format("more")) == shop.execute(acl.format("extra")) != [None]
    shop.contract()
    assert shop.execute(acl.format("more")) != [None]


def test_foreign_keys_that_point_at_it(database):
    loan = CreateModel(
        "Loan", [KEY, ("book", models.ForeignKey("shop.book", models.CASCADE, to_field="extra", related_name="+"))]
    )
    shop = Shop(database, with_extra(models.CharField(max_length=9, unique=True)), loan)
    old, old_loan = shop.model(), shop.model("Loan")
    before = snapshot(connection)
    shop.migrate(EXTRA)
    new, new_loan = shop.model(), shop.model("Loan")
    new_loan.objects.create(book=new.objects.create(title="new", more="new"))
    old_loan.objects.create(book=old.objects.create(title="old", extra="old"))
    assert {loan.book.title for loan in old_loan.objects.select_related("book")} == {"old", "new"}
    assert {loan.book.title for loan in new_loan.objects.select_related("book")} == {"old", "new"}
    shop.contract()
    new_loan.objects.create(book=new.objects.create(title="newer", more="newer"))
    with pytest.raises(IntegrityError):
        shop.execute("DELETE FROM shop_book")
    shop.back()
    assert difference(before, snapshot(connection)) == {}


def test_generated_columns_views_and_policies_of_the_project_go_on(database):
    shop = Shop(database, with_extra(models.IntegerField()))
    shop.execute(
        "ALTER TABLE shop_book ADD COLUMN double int GENERATED ALWAYS AS (extra * 2) STORED;"
        "CREATE VIEW expensive AS SELECT id, extra FROM shop_book WHERE extra > 5;"
        "CREATE POLICY cheap ON shop_book USING (extra < 100);"
        "CREATE STATISTICS together ON title, extra FROM shop_book"
    )
    shop.migrate(EXTRA)
    shop.model().objects.create(title="new", more=6)
    shop.model().objects.update(more=7)
    assert shop.execute("SELECT extra FROM expensive") == [7]
    assert shop.execute("SELECT double FROM shop_book") == [14]
    shop.contract()
    assert shop.execute("SELECT extra FROM expensive") == [7]
    shop.model().objects.update(more=8)
    assert shop.execute("SELECT double FROM shop_book") == [16]


# What is found out before anything is touched.

FUNCTION = "CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;"
WATCHERS = {
    "trigger watch": f"{FUNCTION} CREATE TRIGGER watch AFTER UPDATE OF extra ON shop_book EXECUTE FUNCTION noop()",
    "trigger when": (
        f"{FUNCTION} CREATE TRIGGER when BEFORE UPDATE ON shop_book FOR EACH ROW WHEN (NEW.extra > 5)"
        " EXECUTE FUNCTION noop()"
    ).replace("TRIGGER when", 'TRIGGER "when"'),
    "rule also": (
        "CREATE TABLE log (); CREATE RULE also AS ON UPDATE TO shop_book WHERE NEW.extra > 5 DO ALSO DELETE FROM log"
    ),
    "column more, which is there already": "ALTER TABLE shop_book ADD COLUMN more integer",
}


@pytest.mark.parametrize("what", WATCHERS)
def test_what_would_miss_a_write_under_the_other_name(database, what):
    shop = Shop(database, with_extra(models.IntegerField()))
    shop.execute(WATCHERS[what])
    before = snapshot(connection)
    with pytest.raises(StepFailed) as caught:
        shop.migrate(EXTRA)
    assert str(caught.value) == (
        f"extra of shop_book can't have a twin called more, because of: {what}. Nothing was changed. A trigger or rule "
        "that names the column misses what is written under the other name: write the trigger without UPDATE OF and "
        "WHEN, let its function compare OLD and NEW, and run the same command again. Or rename the field in Python "
        "alone, with db_column='extra'."
    )
    assert difference(before, snapshot(connection)) == {}


def test_a_partition_key(database):
    shop = Shop(database, with_extra(models.IntegerField()))
    shop.execute(
        "DROP TABLE shop_book;"
        "CREATE TABLE shop_book (id bigint, title varchar(100), extra int) PARTITION BY RANGE (extra)"
    )
    with pytest.raises(StepFailed, match="because of: partition key"):
        shop.migrate(EXTRA)


def test_a_column_that_was_altered_by_hand(database):
    shop = Shop(database, with_extra(models.CharField(max_length=5)))
    shop.execute("ALTER TABLE shop_book ALTER COLUMN extra TYPE varchar(50)")
    before = snapshot(connection)
    with pytest.raises(StepFailed) as caught:
        shop.migrate(EXTRA)
    assert (
        "column extra is character varying(50), or of another collation, and in the migrations it is character "
        "varying(5)"
    ) in str(caught.value)
    assert difference(before, snapshot(connection)) == {}


# The proof.


def test_rows_that_differ_stop_the_contract(database):
    shop = Shop(database, with_extra(models.IntegerField()))
    shop.migrate(EXTRA)
    shop.execute("INSERT INTO shop_book (title, extra) SELECT '', n FROM generate_series(1, 9) n")
    shop.execute("ALTER TABLE shop_book DISABLE TRIGGER USER; UPDATE shop_book SET more = 0 WHERE id > 2")
    before = snapshot(connection)
    with pytest.raises(StepFailed) as caught:
        shop.contract()
    differ = 'pg_catalog.record_image_ne(ROW("extra"), ROW("more"))'
    repair = f'UPDATE "shop_book" SET "more" = "extra" WHERE {differ}'
    assert str(caught.value) == (
        'extra and more of shop_book differ, so neither is dropped: "id" 3, 4, 5, 6, 7 and 2 more. Somebody wrote '
        "while the trigger that keeps them equal was disabled. Look at these rows. Where the old release wrote last: "
        f'{repair}; where the new one did: UPDATE "shop_book" SET "extra" = "more" WHERE {differ}. Then run the same '
        "command again."
    )
    assert difference(before, snapshot(connection)) == {}
    assert shop.left() == ["drop the twin more of shop_book; extra is called more then"]
    shop.execute(repair)
    shop.contract()
    assert shop.execute("SELECT more FROM shop_book ORDER BY id") == list(range(1, 10))


def test_it_is_proved_for_some_pages_at_a_time(database, monkeypatch):
    monkeypatch.setattr(proofs, "PAGES", 2)
    shop = Shop(database, with_extra(models.IntegerField()))
    shop.execute("INSERT INTO shop_book (title, extra) SELECT repeat('x', 100), n FROM generate_series(1, 1000) n")
    shop.migrate(EXTRA)
    shop.execute("ALTER TABLE shop_book DISABLE TRIGGER USER; UPDATE shop_book SET more = 0 WHERE id IN (1, 500, 1000)")
    with pytest.raises(StepFailed, match='differ, so neither is dropped: "id" '):
        shop.contract()
    proof = next(step for row in queue.open_rows(connection) for step in row.steps if step.why.endswith("every row"))
    assert isinstance(proof, Proof)
    found = proofs.contradictions(Session(connection), proof.query, proof.pages_of)
    assert sorted(found.split(", ")) == ["1", "1000", "500"]


def test_what_depends_on_the_twin_stops_the_contract(database):
    shop = Shop(database, with_extra(models.IntegerField(unique=True)))
    shop.migrate(EXTRA)
    shop.execute("CREATE VIEW expensive AS SELECT id FROM shop_book WHERE more > 5")
    shop.execute("CREATE TABLE loan (book int REFERENCES shop_book (more))")
    with pytest.raises(StepFailed) as caught:
        shop.contract()
    assert str(caught.value) == (
        "more of shop_book is still a twin. It goes now, and these depend on it: constraint loan_book_fkey on table "
        "loan, view expensive. Nothing was changed. Drop them, or let them use extra, which is about to get the name "
        "more; then run the same command again. A trigger that has the column in UPDATE OF or WHEN can be made again "
        "afterwards (pgtrigger install)."
    )
    shop.execute("CREATE OR REPLACE VIEW expensive AS SELECT id FROM shop_book WHERE extra > 5; DROP TABLE loan")
    shop.contract()
    assert "extra" not in shop.columns()


SHOUT = "CREATE OR REPLACE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} RETURN NEW; END $$;"
EACH = "IF to_jsonb(NEW) ? '{0}' THEN NEW.{0} := upper(NEW.{0}); END IF;"


def test_a_function_that_knows_the_old_name_alone_stops_the_contract(database):
    """PostgreSQL would find out with the next write, and then with every one."""
    shop = Shop(database, with_extra(models.CharField(max_length=9)))
    old = shop.model()
    shop.execute(SHOUT.format("NEW.extra := upper(NEW.extra);"))
    shop.execute("CREATE TRIGGER loud BEFORE INSERT OR UPDATE ON shop_book FOR EACH ROW EXECUTE FUNCTION shout()")
    shop.migrate(EXTRA)
    before = snapshot(connection)
    with pytest.raises(StepFailed) as caught:
        shop.contract()
    assert str(caught.value) == (
        "extra of shop_book can't be called more, because functions of the table's triggers take it by its old name, "
        "and every write would fail. They are: shout(). Nothing was changed. Both columns are there now; let the "
        """function work on the one that is: IF to_jsonb(NEW) ? 'extra' THEN ... NEW."extra" ...; END IF; """
        """IF to_jsonb(NEW) ? 'more' THEN ... NEW."more" ...; END IF; Then run the same command again."""
    )
    assert difference(before, snapshot(connection)) == {}

    shop.execute(SHOUT.format(EACH.format("extra") + EACH.format("more")))
    new = shop.model()
    old.objects.create(title="old", extra="a")
    new.objects.create(title="new", more="b")
    old.objects.filter(title="new").update(extra="c")
    new.objects.filter(title="old").update(more="d")
    assert both(shop) == [("D", "D"), ("C", "C")]
    shop.contract()
    new.objects.create(title="after", more="e")
    assert shop.execute("SELECT more FROM shop_book ORDER BY id") == ["D", "C", "E"]


def test_the_trigger_survives_what_django_pgtrigger_does(project):
    """Its commands, its trigger on the same table, and the autodetector, which must not see ours."""
    project.set(INSTALLED_APPS=["safemigrations", "pgtrigger", "shop"], PGTRIGGER_INSTALL_ON_MIGRATE=True)
    models_of_release = (
        "import pgtrigger\n"
        "class Book(models.Model):\n"
        "    {} = models.CharField(max_length=100)\n"
        "    class Meta:\n"
        "        triggers = [pgtrigger.Protect(name='keep', operation=pgtrigger.Delete)]\n"
    )
    project.write_models("shop", models_of_release.format("title"))
    project.manage("makemigrations").check()
    project.manage("migrate").check()
    project.write_models("shop", models_of_release.format("name"))
    project.manage("makemigrations", input="y\n").check()
    project.manage("migrate").check()
    for command in ("prune", "uninstall", "install", "disable", "enable", "ls"):
        assert "safemig" not in project.manage("pgtrigger", command).check().stdout
    assert project.manage("makemigrations", "--check", "--dry-run").returncode == 0
    project.sql("INSERT INTO shop_book (name) VALUES ('new')")
    assert project.sql("SELECT title FROM shop_book") == [("new",)]
    project.migrate_and_contract()
    assert project.sql("SELECT name FROM shop_book") == [("new",)]
    assert project.sql("SELECT 1 FROM pg_trigger WHERE tgname LIKE '%safemig%'") == []


# Later releases, while the contract waits.


def test_what_later_releases_build_on_the_new_name_stays(database):
    shop = Shop(database, with_extra(models.CharField(max_length=9, db_index=True)))
    shop.migrate(EXTRA)
    shop.migrate(AddIndexConcurrently("book", Index(fields=["more", "title"], name="book_more")))
    shop.migrate(AlterUniqueTogetherConcurrently("book", {("more", "title")}))
    shop.migrate(
        AddConstraint("book", CheckConstraint(condition=Q(more__gt="a"), name="book_check")),
        AddConstraint(
            "book", UniqueConstraint(fields=["more"], name="book_unique", deferrable=models.Deferrable.DEFERRED)
        ),
    )
    shop.migrate(RemoveIndexLater("book", "book_more"))
    expected = (
        shop.constraints(),
        {k: v for k, v in shop.indexes().items() if k.startswith("book") and k != "book_more"},
    )
    shop.contract()
    assert shop.constraints() == expected[0]
    assert set(shop.indexes()) == {
        *expected[1],
        *shop.constraints().keys() - {"book_check"},
        *(name for name in shop.indexes() if name.startswith("shop_book_extra")),
    }
    assert all("safemig" not in name for name in shop.indexes())
    assert shop.left() == []


def test_a_later_rename_of_it_waits_for_the_contract(database):
    shop = Shop(database, with_extra(models.IntegerField()))
    shop.migrate(EXTRA)
    before = snapshot(connection)
    for operation, held in (
        (ExpandRename("book", "more", "most"), "column more"),
        (RemoveFieldLater("book", "more"), "twin more"),
        (AddFieldWithDefault("book", "extra", models.IntegerField(default=1)), "column extra"),
        (ExpandRename("book", "title", "extra"), "column extra"),
    ):
        with pytest.raises(StepFailed) as caught:
            shop.migrate(operation)
        assert str(caught.value) == (
            f"The {held} of shop_book still belongs to the contract of shop.0002 (drop the twin more of "
            "shop_book; extra is called more then). Nothing was changed. When no server runs the release before that "
            f"migration any more, type: python manage.py migrate shop 0002 --contract --only{CATCH_UP}"
        )
    assert difference(before, snapshot(connection)) == {}
    shop.contract()
    shop.migrate(ExpandRename("book", "more", "most"))
    shop.migrate(AddFieldWithDefault("book", "extra", models.IntegerField(default=1)))
    shop.contract()
    assert list(shop.columns()) == ["id", "title", "most", "extra"]


TOGETHER: dict[str, tuple[Any, Any, str]] = {
    "a new field of the old name": (
        EXTRA,
        AddFieldWithDefault("book", "extra", models.IntegerField(default=1)),
        "column extra of shop_book in its contract (drop the twin more of shop_book; extra is called more then)",
    ),
    "another rename to the old name": (
        EXTRA,
        ExpandRename("book", "title", "extra"),
        "column extra of shop_book in its contract (drop the twin more of shop_book; extra is called more then)",
    ),
    "the table is renamed after it": (
        EXTRA,
        ExpandRenameModel("Book", "Novel"),
        "table shop_book in its contract (drop the twin more of shop_book; extra is called more then)",
    ),
    "the table is renamed after a removal": (
        RemoveFieldLater("book", "extra"),
        ExpandAlterModelTable("book", "novels"),
        "table shop_book in its contract (drop extra of shop_book)",
    ),
    "the column gets a third name": (
        EXTRA,
        ExpandAlterField("book", "more", models.IntegerField(db_column="third")),
        "twin more of shop_book in its contract (drop the twin more of shop_book; extra is called more then)",
    ),
    "the column gets a third name and a type": (
        EXTRA,
        ExpandAlterField("book", "more", models.TextField(db_column="third")),
        "twin more of shop_book in its contract (drop the twin more of shop_book; extra is called more then)",
    ),
}


@pytest.mark.parametrize("what", TOGETHER)
def test_what_can_not_be_in_one_migration(database, what):
    """The contract would drop the new column, or look for its own under a name that is a view by then."""
    first, second, needed = TOGETHER[what]
    shop = Shop(database, with_extra(models.IntegerField()))
    with pytest.raises(StepFailed) as caught:
        shop.migrate(first, second)
    assert str(caught.value) == (
        f"shop.0002 needs the {needed}, and another of its operations takes or changes that name. Nothing was "
        "changed. Put the two operations into two migrations, and run migrate --contract between them."
    )


OURS = {
    "not null": SetNotNullLater("book", "more", models.IntegerField(), backfill=Value(0)),
    "not null with a default": SetNotNullLater("book", "more", models.IntegerField(default=0)),
}


def test_each_database_has_twins_and_a_contract_of_its_own(two_databases):
    """As a router that lets the app into both has it."""
    shops = [Shop(each, with_extra(models.IntegerField(unique=True))) for each in two_databases]
    for number, shop in enumerate(shops):
        before = snapshot(shop.connection)
        shop.migrate(EXTRA)
        new = shop.model().objects.using(shop.connection.alias)
        new.create(title="new", more=number)
        assert both(shop) == [(number, number)]
        assert len(shop.left()) == 1
        if number:
            shop.back()
            assert difference(before, snapshot(shop.connection)) == {}
    assert [len(shop.left()) for shop in shops] == [1, 0]
    shops[0].contract()
    assert list(shops[0].columns()) == ["id", "title", "more"]
    assert list(shops[1].columns()) == ["id", "title", "extra"]


# Both releases at once.


def upsert(connect: Any, column: str, errors: list[str]) -> Any:
    """A server of one release: it changes rows that the other changes too, all the time."""

    def go_on() -> None:
        connection, chosen = connect(), random.Random(column)
        for _ in range(300):
            value = chosen.randrange(20)
            again = f"ON CONFLICT ({column}) DO UPDATE SET note = ''"
            sql = chosen.choice(
                [
                    f"INSERT INTO shop_book (title, {column}) VALUES ('', {value}) {again}",
                    f"UPDATE shop_book SET note = '{column}' || note WHERE {column} = {value}",
                    f"UPDATE shop_book SET {column} = {column} + 0, title = 'x' WHERE id = {value}",
                    f"SELECT id FROM shop_book WHERE {column} = {value} FOR UPDATE",
                ]
            )
            try:
                connection.execute(sql)
            except psycopg.Error as error:
                errors.append(str(error))

    return go_on


def test_both_releases_write_the_same_rows_at_once(database, connect):
    """Rows that are there: two inserts of the same new value are what docs/rename_field.md says of them."""
    number, note = models.IntegerField(unique=True), models.TextField(default="")
    shop = Shop(database, book(("extra", number), ("note", note)))
    shop.execute("INSERT INTO shop_book (title, extra, note) SELECT '', n, '' FROM generate_series(0, 19) n")
    shop.execute("ALTER TABLE shop_book ALTER note SET DEFAULT ''")
    errors: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        old = [pool.submit(upsert(connect, "extra", errors)) for _ in range(2)]
        shop.migrate(EXTRA)
        new = [pool.submit(upsert(connect, "more", errors)) for _ in range(2)]
        for server in (*old, *new):
            server.result()
    assert errors == []
    assert sorted(both(shop)) == [(n, n) for n in range(20)]
    shop.contract()


@pytest.mark.parametrize("what", OURS)
def test_what_would_change_the_twin_alone_waits_for_the_contract(database, what):
    shop = Shop(database, with_extra(models.IntegerField(null=True)))
    shop.migrate(EXTRA)
    before = snapshot(connection)
    with pytest.raises(StepFailed, match="The twin more of shop_book still belongs to the contract"):
        shop.migrate(OURS[what])
    assert difference(before, snapshot(connection)) == {}
    shop.contract()
    shop.migrate(OURS[what])
    shop.contract()


ADDED = {
    "index": models.IntegerField(null=True, db_index=True),
    "unique": models.IntegerField(null=True, unique=True),
    "check": models.PositiveIntegerField(null=True),
}


@pytest.mark.parametrize("what", ADDED)
def test_what_a_later_alteration_adds_stays(database, what):
    shop = Shop(database, with_extra(models.IntegerField(null=True)))
    shop.migrate(EXTRA)
    shop.migrate(AlterFieldConcurrently("book", "more", ADDED[what]))
    shop.contract()
    assert (len(shop.constraints()), len(shop.indexes())) == {"index": (0, 1), "unique": (1, 1), "check": (1, 0)}[what]
    assert all("more" in text for text in (*shop.constraints().values(), *shop.indexes().values()))


def test_a_rename_of_what_an_open_contract_works_on_waits_for_it(database):
    shop = Shop(database, book())
    shop.migrate(AddFieldWithDefault("book", "extra", models.IntegerField(default=1)))
    with pytest.raises(StepFailed, match="The column extra of shop_book still belongs to the contract"):
        shop.migrate(EXTRA)
    shop.contract()
    shop.migrate(EXTRA)


ALTERATIONS = {
    "models.CharField(max_length=200)": "twin name",  # the twin would be longer than the column that stays
    "models.CharField(max_length=100, null=True)": "column name",
    "models.CharField(max_length=100, help_text='of the book')": "",
}


@pytest.mark.parametrize("field", ALTERATIONS)
def test_a_later_alteration_of_it_waits_for_the_contract(project, field):
    project.write_models("shop", "class Book(models.Model):\n    title = models.CharField(max_length=100)\n")
    project.manage("makemigrations").check()
    head = (
        "from django.db import migrations, models\nfrom safemigrations.operations import ExpandRename\n"
        "class Migration(migrations.Migration):\n"
    )
    project.write_migration(
        "shop",
        "0002_name",
        f"{head}    atomic = False\n    dependencies = [('shop', '0001_initial')]\n"
        "    operations = [ExpandRename('book', 'title', 'name')]\n",
    )
    project.manage("migrate", "shop", "0001").check()
    project.manage("migrate").check()
    project.write_migration(
        "shop",
        "0003_alter",
        f"{head}    dependencies = [('shop', '0002_name')]\n"
        f"    operations = [migrations.AlterField('book', 'name', {field})]\n",
    )
    result = project.manage("migrate")
    held = ALTERATIONS[field]
    assert result.returncode == bool(held)
    if held:
        assert f"The {held} of shop_book still belongs to the contract of shop.0002_name" in result.stderr
    project.manage("migrate", "shop", "0002", "--contract").check()
    project.manage("migrate").check()


def test_a_generated_field_follows(database):
    def twice(name: str) -> Any:
        return models.GeneratedField(expression=F(name) * 2, output_field=models.IntegerField(), db_persist=True)

    shop = Shop(database, book(("extra", models.IntegerField()), ("double", twice("extra"))))
    old = shop.model()
    before = snapshot(connection)
    follows = FollowRename(AlterField("book", "double", twice("more")))
    shop.migrate(EXTRA, follows)
    new = shop.model()
    new.objects.create(title="new", more=1)
    old.objects.create(title="old", extra=2)
    new.objects.filter(title="old").update(more=3)
    assert list(old.objects.order_by("id").values_list("double", flat=True)) == [2, 6]
    shop.contract()
    new.objects.update(more=4)
    assert [row.double for row in new.objects.all()] == [8, 8]
    shop.back()
    assert difference(before, snapshot(connection)) == {}


# Backwards.


@pytest.mark.parametrize("contracted", [False, True])
def test_backwards_every_value_of_both_releases_is_there(database, contracted):
    shop = Shop(database, with_extra(models.CharField(max_length=9, unique=True, db_default="it's")))
    old = shop.model()
    before = snapshot(connection)
    for number in range(2):
        shop.migrate(EXTRA)
        old.objects.create(title="old", extra=f"old {number}")
        shop.model().objects.create(title="new", more=f"new {number}")
        if contracted:
            shop.contract()
            shop.model().objects.create(title="new", more=f"newer {number}")
        shop.back()
        assert difference(before, snapshot(connection)) == {}
        assert shop.left() == []
    values = {f"{who} {n}" for n in range(2) for who in ("old", "new", *(["newer"] if contracted else []))}
    assert set(old.objects.values_list("extra", flat=True)) == values


def test_a_new_migration_goes_back_after_the_contract_without_an_interruption(database):
    shop = Shop(database, with_extra(models.CharField(max_length=9, unique=True)))
    before, first = snapshot(connection), shop.model()
    shop.migrate(EXTRA)
    shop.contract()
    second = shop.model()
    shop.migrate(ExpandRename("book", "more", "extra"))
    second.objects.create(title="the one that is running", more="a")
    first.objects.create(title="the one to go back to", extra="b")
    assert list(first.objects.values_list("extra", flat=True)) == ["a", "b"]
    assert list(second.objects.values_list("more", flat=True)) == ["a", "b"]
    shop.contract()
    assert difference(before, snapshot(connection)) == {}


def test_it_goes_on_where_it_stopped(database):
    shop = Shop(database, with_extra(models.IntegerField(unique=True)))
    shop.migrate(EXTRA)
    expanded = snapshot(connection)
    shop.again()
    assert difference(expanded, snapshot(connection)) == {}
    shop.contract()
    contracted = snapshot(connection)
    shop.again()  # recorded only now, as with CONTRACT = "immediately"
    shop.contract()
    assert difference(contracted, snapshot(connection)) == {}


# The state.


def test_unique_together_stays_a_set_of_tuples(database):
    shop = Shop(database, with_extra(models.IntegerField(), unique_together={("title", "extra")}))
    shop.migrate(EXTRA)
    assert shop.state.models["shop", "book"].options["unique_together"] == {("title", "more")}


def test_the_order_of_rows_that_depends_on_it(database):
    """Django leaves the old name in the state, and can't go on."""
    author = CreateModel("Author", [KEY])
    shop = Shop(
        database, author, with_extra(models.ForeignKey("shop.author", models.CASCADE), order_with_respect_to="extra")
    )
    before = snapshot(connection)
    row = shop.model().objects.create(title="old", extra=shop.model("Author").objects.create())
    shop.migrate(EXTRA, AlterOrderWithRespectTo("book", "more"))
    assert list(row.extra.get_book_order()) == [row.pk]
    shop.model().objects.create(title="new", more_id=row.extra_id)
    assert shop.execute("SELECT _order FROM shop_book ORDER BY id") == [0, 1]
    shop.contract()
    shop.back()
    assert difference(before, snapshot(connection)) == {}


def test_fields_of_others_that_refer_to_it_can_be_gone_back_to():
    """Django writes the new name into the field of the operation that created it."""
    loan = CreateModel("Loan", [KEY, ("book", models.ForeignKey("shop.book", models.CASCADE, to_field="extra"))])
    state: Any = ProjectState()
    for operation in (with_extra(models.IntegerField(unique=True)), loan, EXTRA):
        operation.state_forwards("shop", state)
    assert state.models["shop", "loan"].fields["book"].remote_field.field_name == "more"
    made: Any = dict(loan.fields)["book"]
    assert made.remote_field.field_name == "extra"


def test_a_column_that_keeps_its_name_is_left_alone(database):
    shop = Shop(database, with_extra(models.IntegerField(db_column="extra")))
    before = snapshot(connection)
    shop.migrate(EXTRA)
    assert shop.left() == []
    assert difference(before, snapshot(connection)) == {}
    shop.back()
    assert difference(before, snapshot(connection)) == {}


# The written form.


def test_the_file():
    assert file_of(RENAME) == (
        "from django.db import migrations\n"
        "from safemigrations.operations import ExpandRename\n"
        "\n\n"
        "class Migration(migrations.Migration):\n"
        "\n"
        "    atomic = False  # fills rows in batches\n"
        "\n"
        "    dependencies = [\n"
        "    ]\n"
        "\n"
        "    operations = [\n"
        "        ExpandRename(\n"
        "            model_name='book',\n"
        "            old_name='title',\n"
        "            new_name='name',\n"
        "        ),\n"
        "    ]\n"
    )


def test_the_file_is_read_back():
    assert_is_read_back(RENAME)


def test_the_file_of_what_follows():
    assert written(FollowRename(RemoveIndex("book", "book_title"))) == (
        "FollowRename(\n    operation=migrations.RemoveIndex(\n        model_name='book',\n        name='book_title',\n"
        "    ),\n)"
    )
    assert FollowRename(RemoveIndex("book", "x")).describe() == "Remove index x from book; it follows the rename"
    assert FollowRename(RemoveIndex("book", "x")).migration_name_fragment == "remove_book_x"


def test_what_it_says_of_itself():
    assert RENAME.describe() == "Rename field title on book to name; both names work until the contract"
    assert RENAME.migration_name_fragment == "rename_title_book_name"


# The optimizer.


def test_the_field_of_a_model_that_is_created_with_it_gets_the_new_name():
    renamed = CreateModel("Book", [KEY, ("name", models.CharField(max_length=100))])
    assert optimized(book(), RENAME) == optimized(renamed)


def test_two_renames_stay_two():
    assert len(optimized(RENAME, ExpandRename("book", "name", "label"))) == 2


def test_unrelated_operations_pass():
    note = AddField("author", "note", models.TextField(null=True))
    assert len(optimized(note, RENAME, RemoveField("author", "note"))) == 1


# Other databases.


def test_where_the_router_says_no_nothing_happens(database):
    with override_settings(DATABASE_ROUTERS=[Nowhere()]):
        shop = Shop(database, book())
        shop.migrate(RENAME)
        assert shop.left() == []
        shop.back()
    assert shop.tables() == {"django_migrations"}


@pytest.mark.parametrize("field", [models.IntegerField(null=True), models.CharField(max_length=5, db_index=True)])
def test_another_backend_does_what_stock_does(tmp_path, field):
    assert_does_what_stock_does(tmp_path, EXTRA, RenameField("book", "extra", "more"), with_extra(field))


def test_another_backend_keeps_what_follows(tmp_path):
    """SQLite builds the table of a renamed foreign key anew, from what the state knows."""
    index, unique = Index(fields=["more", "title"], name="both"), UniqueConstraint(fields=["more"], name="once")
    author = CreateModel("Author", [KEY])
    before = with_extra(
        models.ForeignKey("shop.author", models.CASCADE),
        indexes=[Index(fields=["extra", "title"], name="both")],
        constraints=[UniqueConstraint(fields=["extra"], name="once")],
    )
    schemas = []
    for number, (rename, follow) in enumerate(((EXTRA, FollowRename), (EXTRA.stock, lambda operation: operation))):
        place = tmp_path / str(number)
        place.mkdir()
        with sqlite(place) as lite:
            shop = Shop(lite, author, before)
            shop.migrate(
                follow(RemoveIndex("book", "both")),
                follow(RemoveConstraint("book", "once")),
                rename,
                follow(AddIndex("book", index)),
                follow(AddConstraint("book", unique)),
            )
            schemas.append(shop.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"))
    assert schemas[0] == schemas[1]
    assert any('"both"' in sql for sql in schemas[0])


# Awkward names.


@pytest.mark.parametrize(("table", "column"), AWKWARD)
def test_awkward_names(database, table, column):
    """A name in db_column stays as it is when the field is renamed; a new name is one that Python takes."""
    shop = Shop(database, LIBRARY, book(("extra", models.CharField(max_length=50, unique=True)), db_table=table))
    shop.execute(
        "CREATE TABLE IF NOT EXISTS other (id int)"  # something else of the search_path's first schema
    )
    where = quoted(table)
    before = snapshot(connection)
    old = shop.model()
    new_name = column if column.isidentifier() else "Größe"
    old.objects.create(title="there", extra="there")
    shop.migrate(ExpandRename("book", "extra", new_name))
    new = shop.model()
    old.objects.create(title="old", extra="old")
    new.objects.create(title="new", **{new_name: "new"})
    new.objects.bulk_create(
        [new(title="again", **{new_name: "old"})],
        update_conflicts=True,
        unique_fields=[new_name],
        update_fields=["title"],
    )
    assert set(old.objects.values_list("extra", "title")) == {("there", "there"), ("old", "again"), ("new", "new")}
    shop.contract()
    assert list(shop.columns(where)) == ["id", "title", new_name]
    shop.back()
    assert difference(before, snapshot(connection)) == {}


def test_braces_in_the_table_name(database):
    """They mean something to str.format()."""
    table = "the {b}ook {0}"
    shop = Shop(database, book(("extra", models.IntegerField()), db_table=table))
    shop.model().objects.create(title="{title}", extra=1)
    shop.migrate(EXTRA)
    shop.execute(f'ALTER TABLE "{table}" DISABLE TRIGGER USER; UPDATE "{table}" SET more = 0')
    with pytest.raises(StepFailed) as caught:
        shop.contract()
    assert str(caught.value).startswith(f'extra and more of {table} differ, so neither is dropped: "id" 1. Somebody')
    shop.execute(f'UPDATE "{table}" SET more = extra')
    shop.contract()
    assert shop.model().objects.get().more == 1


def test_names_of_two_tables_and_columns_that_run_together(database):
    """order.item_code and order_item.code have a function each."""
    shop = Shop(
        database,
        CreateModel("Order", [KEY, ("item_code", models.TextField())]),
        CreateModel("Order_Item", [KEY, ("code", models.TextField())]),
    )
    order, item = shop.model("Order"), shop.model("Order_Item")
    shop.migrate(ExpandRename("order", "item_code", "item_number"), ExpandRename("order_item", "code", "number"))
    order.objects.create(item_code="old")
    item.objects.create(code="old")
    assert shop.model("Order").objects.get().item_number == shop.model("Order_Item").objects.get().number == "old"
    shop.contract()
    assert shop.execute("SELECT proname FROM pg_proc WHERE proname ~ 'safemig'") == []


def test_a_field_that_the_model_lacks_is_named(database):
    shop = Shop(database, book())
    with pytest.raises(Exception, match="'nothing'"):
        shop.migrate(ExpandRename("book", "nothing", "something"))


AUDIT = "CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit {}; RETURN NEW; END $$;"


@pytest.mark.parametrize("row", ["to_jsonb(NEW.*)", "jsonb_build_object('row', NEW.*)", "to_jsonb(NEW.*) - 'id'"])
def test_a_function_that_takes_the_row_as_one_value_stops_nothing(database, row):
    shop = Shop(database, book())
    shop.execute(
        f"CREATE TABLE audit (row jsonb, at timestamptz); {AUDIT.format(f'VALUES ({row}, now())')}"
        " CREATE TRIGGER audit AFTER INSERT ON shop_book FOR EACH ROW EXECUTE FUNCTION audit()"
    )
    shop.migrate(RENAME)
    shop.execute("INSERT INTO shop_book (title) VALUES ('new')")
    assert len(shop.execute("SELECT row FROM audit")) == 1
    shop.contract()


@pytest.mark.parametrize("source", ["SELECT NEW.*", "VALUES (NEW.*)", "SELECT (NEW).*", "SELECT ROW(1, NEW.*)"])
def test_a_function_that_takes_the_columns_in_their_order_is_named(database, source):
    shop = Shop(database, book())
    shop.execute(
        f"CREATE TABLE audit (id bigint, title text); {AUDIT.format(source)}"
        " CREATE TRIGGER audit AFTER INSERT ON shop_book FOR EACH ROW EXECUTE FUNCTION audit()"
    )
    before = snapshot(connection)
    with pytest.raises(
        StepFailed,
        match=r"because of: function audit\(\), which takes the columns in their order and has to name them\.",
    ):
        shop.migrate(RENAME)
    assert difference(before, snapshot(connection)) == {}


def test_what_follows_it_is_known_without_a_server():
    def unique(field: str) -> UniqueConstraint:
        return UniqueConstraint(fields=[field], nulls_distinct=False, name="book_unique")

    state = ProjectState()
    CreateModel("Book", [KEY, ("title", models.IntegerField())], {"constraints": [unique("title")]}).state_forwards(
        "shop", state
    )
    migration = Migration("0002", "shop")
    migration.operations = [  # type: ignore[misc]
        RemoveConstraint("book", "book_unique"),
        RenameField("book", "title", "name"),
        AddConstraint("book", unique("name")),
    ]
    (found,) = as_makemigrations_writes(state, migration)
    assert [type(operation) for operation in found.operations] == [FollowRename, ExpandRename, FollowRename]
