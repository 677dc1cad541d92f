"""A model that moves to another app -> MoveModelIn and MoveModelOut.

What makemigrations asks is in tests/test_moved_models.py.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.migrations import AddField, AlterField, CreateModel, DeleteModel, Migration
from django.db.migrations.state import ProjectState
from django.test import override_settings

from safemigrations.checking import rules
from safemigrations.checking.left_backfills import taken_from_a_backfill
from safemigrations.errors import StepFailed
from safemigrations.operations import MoveModelIn, MoveModelOut
from safemigrations.operations.move_model import MoveModel
from safemigrations.operations.of_migration import Placed
from safemigrations.operations.rule import Context
from safemigrations.plans import claims
from safemigrations.plans.claims import Claim
from safemigrations.running.run import Run

from .cases import STORE, InStore
from .shop import (
    AWKWARD,
    KEY,
    LIBRARY,
    Nowhere,
    Shop,
    assert_does_what_stock_does,
    assert_is_read_back,
    book,
    file_of,
    optimized,
)
from .snapshot import difference, snapshot
from .test_rename_model import use, without_blocks

MOVE = MoveModelIn("Book", STORE)
KEPT = MoveModelIn("Book", STORE, "store_book")
AUTHOR = CreateModel("Author", [KEY, ("name", models.TextField(default=""))])
TAGS = ("tags", models.ManyToManyField("shop.Author"))
LOAN = CreateModel("Loan", [KEY, ("book", models.ForeignKey("store.Book", models.CASCADE))])


def store(*fields: tuple[str, Any], **options: Any) -> InStore:
    """The book of another app."""
    return InStore(book(*fields, **options))


# The exact plan.


def test_the_plan(database):
    shop = Shop(database, store())
    assert without_blocks(shop.plan(MOVE)) == (
        "-- store_book: its row-level security holds behind a view, too (looked up when it is run)\n"
        "-- store_book: store_book is called shop_book, and a view has the old names\n"
        'ALTER TABLE "store_book" RENAME TO "shop_book";\n'
        'CREATE VIEW "store_book" AS SELECT * FROM "shop_book" safemig_old_name;\n'
        "COMMENT ON VIEW \"store_book\" IS 'safemigrations: the old name of a table, until migrate --contract';\n"
        "-- shop.book: it has the content type, and store.book one of its own\n"
        "-- Left for the contract:\n"
        "--   store_book: no function of your triggers uses the old name (looked up when it is run)\n"
        "--   store_book: drop the view; the table is called shop_book\n"
        '--   DROP VIEW IF EXISTS "store_book";\n'
        "--   shop.book: it has what was written for store.book"
    )
    assert without_blocks(shop.plan(MOVE, backwards=True)) == (
        "-- store.book: it has the content type again\n"
        "-- store_book: the table has its old name again\n"
        'DROP VIEW IF EXISTS "store_book";\n'
        'ALTER TABLE "shop_book" RENAME TO "store_book";'
    )


def test_a_table_that_keeps_its_name_is_left_alone(database):
    shop = Shop(database, store())
    assert without_blocks(shop.plan(KEPT)).splitlines()[0] == (
        "-- shop.book: it has the content type, and store.book one of its own"
    )
    assert "TABLE" not in shop.plan(KEPT)


@override_settings(INSTALLED_APPS=["safemigrations"])
def test_without_content_types_there_is_nothing_left_to_do(database):
    shop = Shop(database, store())
    assert shop.plan(KEPT) == "-- (no-op)"


# Forwards.


def test_both_releases_work_until_the_contract(database):
    shop = Shop(database, AUTHOR, store(TAGS), LOAN)
    old = shop.state.apps.get_model(STORE, "Book")
    shop.migrate(MOVE)
    new = shop.model()
    for one, other in ((old, new), (new, old)):
        row = use(one)
        assert other.objects.get(pk=row.pk).title == "Persuasion"
        one.tags.through.objects.create(book_id=row.pk, author_id=shop.model("Author").objects.create().pk)
        assert other.tags.through.objects.filter(book_id=row.pk).delete()[0] == 1
        shop.model("Loan").objects.create(book_id=row.pk)
    assert shop.left() == ["drop what the old release calls store.Book"]
    shop.contract()
    assert {"shop_book", "shop_book_tags"} <= shop.tables()
    assert not {table for table in shop.tables() if table.startswith("store_")}
    use(new)


def test_children_proxies_and_relations_follow(database):
    """In whatever app; they need no migration for it."""
    novel = CreateModel("Novel", [("pages", models.IntegerField(default=1))], bases=("store.book",))
    proxy = CreateModel("Old", [], {"proxy": True}, bases=("store.book",))
    reader = CreateModel("Reader", [KEY, ("books", models.ManyToManyField("store.Book", related_name="+"))])
    shop = Shop(database, store(("sequel", models.ForeignKey("store.Book", models.CASCADE, null=True))))
    shop.migrate(InStore(novel), InStore(proxy), LOAN, reader)
    shop.migrate(MOVE)
    shop.contract()
    moved = shop.model()
    row = shop.state.apps.get_model(STORE, "Novel").objects.create(title="Emma")
    assert [parent._meta.label for parent in type(row)._meta.parents] == ["shop.Book"]
    assert shop.state.apps.get_model(STORE, "Old").objects.get()._meta.concrete_model is moved
    assert moved._meta.get_field("sequel").remote_field.model is moved
    shop.model("Loan").objects.create(book_id=row.pk)
    shop.model("Reader").objects.create().books.add(moved.objects.get(pk=row.pk))
    assert moved.objects.get(loan__isnull=False).pk == row.pk


def test_through_models_may_move_too(database):
    through = CreateModel(
        "Writing",
        [KEY, ("book", _key("store.Book")), ("author", _key("shop.Author"))],
    )
    tags = models.ManyToManyField("shop.Author", through="store.Writing")
    shop = Shop(database, AUTHOR, store(), InStore(through), InStore(AddField("Book", "authors", tags)))
    shop.migrate(MoveModelIn("Writing", STORE), MOVE)
    shop.contract()
    row = shop.model().objects.create(title="Emma")
    row.authors.add(shop.model("Author").objects.create())
    assert shop.model("Writing").objects.get().book_id == row.pk


def _key(to: str) -> models.ForeignKey[Any, Any]:
    return models.ForeignKey(to, models.CASCADE)


def test_it_goes_on_where_it_stopped(database):
    shop = Shop(database, AUTHOR, store(TAGS))
    shop.migrate(MOVE)
    shop.again()
    shop.contract()
    after = shop.tables()
    with override_settings(SAFEMIGRATIONS={"CONTRACT": "immediately"}):
        shop.again()
    assert shop.tables() == after


@pytest.mark.parametrize("contracted", [False, True])
def test_backwards(database, contracted):
    shop = Shop(database, AUTHOR, store(TAGS), LOAN)
    row = shop.state.apps.get_model(STORE, "Book").objects.create(title="Emma")
    before = snapshot(database)
    for _ in range(2):
        shop.migrate(MOVE)
        if contracted:
            shop.contract()
        shop.back()
        assert difference(before, snapshot(database)) == {}
        assert shop.left() == []
    assert shop.state.apps.get_model(STORE, "Book").objects.get().pk == row.pk


class Unfinished:
    """A backfill of a table."""

    def is_left_by(self, migration: Migration) -> bool:
        return False

    def needs(self, claim: Claim) -> bool:
        return claim.meets(claims.table('"store_book"'))


@pytest.mark.parametrize(("move", "table"), [(MOVE, "table store_book"), (KEPT, "")])
def test_a_backfill_that_is_not_finished_comes_before_its_table_is_renamed(database, move, table):
    shop = Shop(database, store())
    migration = Migration("0002", "shop")
    migration.operations = [move]  # type: ignore[misc]
    taken = taken_from_a_backfill(Placed(migration, shop.state, database), Run(), [Unfinished()])
    assert (str(taken[0]) if taken else "") == table


# Content types and permissions.


@pytest.fixture
def shop(database):
    with database.schema_editor() as editor:
        for model in (ContentType, Permission, Group, User):
            editor.create_model(model)
    made = Shop(database, store())
    made.execute(
        """INSERT INTO django_content_type (id, app_label, model) VALUES (7, 'store', 'book');
        INSERT INTO auth_permission (id, name, codename, content_type_id) VALUES (8, 'Can add', 'add_book', 7);
        INSERT INTO auth_group (id, name) VALUES (9, 'editors');
        INSERT INTO auth_user (id, username, password, is_superuser, first_name, last_name, email, is_staff, is_active,
            date_joined) VALUES (10, 'jane', '', false, '', '', '', false, true, now());
        INSERT INTO auth_group_permissions (group_id, permission_id) VALUES (9, 8);
        INSERT INTO auth_user_user_permissions (user_id, permission_id) VALUES (10, 8);
        CREATE TABLE note (id serial PRIMARY KEY, about integer REFERENCES django_content_type DEFERRABLE, row integer,
            UNIQUE (about, row));
        INSERT INTO note (about, row) VALUES (7, 1)"""
    )
    return made


def types(shop: Shop) -> dict[str, int]:
    return dict(shop.execute("SELECT app_label, id FROM django_content_type WHERE model = 'book'"))


def permitted(shop: Shop) -> list[str]:
    """What the user may do, by himself and by his group, as has_perm() asks."""
    who = ("auth_user_user_permissions", "auth_group_permissions")
    found = [
        shop.execute(
            f"SELECT app_label || '.' || codename FROM {table} JOIN auth_permission p ON p.id = permission_id"
            " JOIN django_content_type c ON c.id = content_type_id ORDER BY 1"
        )
        for table in who
    ]
    assert found[0] == found[1]
    return found[0]


@pytest.mark.parametrize("move", [MOVE, KEPT], ids=["to another table", "with its table"])
def test_each_release_finds_its_content_type_and_permissions(shop, move):
    shop.migrate(move)
    assert types(shop)["shop"] == 7, "generic relations point at it"
    assert permitted(shop) == ["shop.add_book", "store.add_book"]
    shop.again()
    assert permitted(shop) == ["shop.add_book", "store.add_book"]
    shop.execute(f"INSERT INTO note (about, row) VALUES (7, 2), ({types(shop)['store']}, 3)")
    shop.contract()
    assert types(shop) == {"shop": 7}
    assert permitted(shop) == ["shop.add_book"]
    assert shop.execute("SELECT row FROM note WHERE about = 7 ORDER BY 1") == [1, 2, 3]


@pytest.mark.parametrize("contracted", [False, True])
def test_the_old_release_gets_its_content_type_back(shop, contracted):
    shop.migrate(MOVE)
    shop.execute(f"INSERT INTO note (about, row) VALUES ({types(shop)['store']}, 3)")
    if contracted:
        shop.contract()
    shop.back()
    assert types(shop) == {"store": 7}
    assert permitted(shop) == ["store.add_book"]
    assert shop.execute("SELECT row FROM note WHERE about = 7 ORDER BY 1") == [1, 3]


def test_what_the_new_release_takes_away_does_not_come_back(shop):
    shop.migrate(MOVE)
    shop.execute("DELETE FROM auth_user_user_permissions WHERE permission_id = 8")
    shop.execute("DELETE FROM auth_group_permissions WHERE permission_id = 8")
    shop.contract()
    assert permitted(shop) == []


def test_what_both_have_written_stays_where_it_is(shop):
    """A unique constraint allows one of the two: neither is thrown away."""
    shop.migrate(MOVE)
    shop.execute(f"INSERT INTO note (about, row) VALUES ({types(shop)['store']}, 1), ({types(shop)['store']}, 4)")
    shop.contract()
    assert types(shop).keys() == {"shop", "store"}
    assert shop.execute("SELECT row FROM note WHERE about = 7 ORDER BY 1") == [1, 4]
    assert shop.execute("SELECT row FROM note WHERE about <> 7") == [1]


def test_a_content_type_that_was_left_over_gets_everything(shop):
    """Of a model of that name that the app had once."""
    shop.execute("INSERT INTO django_content_type (id, app_label, model) VALUES (5, 'shop', 'book')")
    shop.migrate(MOVE)
    assert types(shop) == {"shop": 5, "store": 7}
    assert permitted(shop) == ["shop.add_book", "store.add_book"]
    shop.contract()
    assert types(shop) == {"shop": 5}
    assert permitted(shop) == ["shop.add_book"]
    assert shop.execute("SELECT about FROM note") == [5]


# The written form.


def test_the_file():
    assert file_of(MOVE).endswith(
        "        MoveModelIn(\n            name='Book',\n            from_app='store',\n        ),\n    ]\n"
    )
    assert "    atomic = False  # each step is a short transaction of its own\n" in file_of(MOVE)
    assert "atomic" not in file_of(MoveModelOut("Book", "archive"))


@pytest.mark.parametrize("operation", [MOVE, KEPT, MoveModelOut("Book", "archive")], ids=str)
def test_the_file_is_read_back(operation):
    assert_is_read_back(operation)


def test_what_they_say_of_themselves():
    assert MOVE.describe() == "Move model Book here from store; the old release finds it in both until the contract"
    assert MOVE.migration_name_fragment == "book_from_store"
    out = MoveModelOut("Book", "archive")
    assert (out.describe(), out.migration_name_fragment) == ("Model Book has moved to archive", "book_to_archive")


def test_a_state_without_the_other_migration_is_said(database):
    with pytest.raises(StepFailed, match="shop: Move model Book here from store, where it isn't"):
        Shop(database, MOVE)
    with pytest.raises(StepFailed, match="shop: Model Book has moved to archive, but it is still here"):
        Shop(database, book(), MoveModelOut("Book", "archive"))


# The optimizer.


def test_nothing_is_folded_into_it():
    note = AddField("book", "note", models.TextField(null=True))
    assert len(optimized(AUTHOR, MOVE, note)) == 3
    assert len(optimized(book(), MoveModelOut("Book", "archive"))) == 2


# Other databases.


def test_where_the_router_says_no_nothing_happens(database):
    with override_settings(DATABASE_ROUTERS=[Nowhere()]):
        shop = Shop(database)
        book().state_forwards(STORE, shop.state)
        shop.migrate(MOVE)
        assert shop.left() == []
        shop.back()
    assert shop.tables() == {"django_migrations"}


def test_another_backend_does_what_stock_does(tmp_path):
    assert_does_what_stock_does(tmp_path, MOVE, MoveModel("Book", STORE), AUTHOR, store(TAGS), LOAN)


# Awkward names.


@pytest.mark.parametrize("table", sorted({table for table, _ in AWKWARD if "." not in table}))
def test_awkward_names(database, table):
    shop = Shop(database, LIBRARY, AUTHOR, store(TAGS, db_table=table))
    before = snapshot(database)
    shop.migrate(MoveModelIn("Book", STORE, 'It\'s "" {} new'))
    shop.contract()
    shop.model().objects.create(title="Emma")
    shop.back()
    assert difference(before, snapshot(database)) == {}


# The check.


def found(context_after: ProjectState) -> Any:
    before = ProjectState()
    for state in (before, context_after):
        book().state_forwards("shop", state)
    delete = DeleteModel("Book")
    delete.state_forwards("shop", context_after)
    return rules.find(delete, Context("shop", before, context_after))


def test_a_table_that_another_model_has_is_not_dropped():
    after = ProjectState()
    book(db_table="shop_book").state_forwards("archive", after)
    rule, finding = found(after)
    assert rule.id == "safemigrations.E053"
    assert finding.message == (
        "DeleteModel Book drops the table shop_book, which archive.Book has: its rows would be lost, and both releases "
        "fail."
    )
    assert not finding.replacement
    rule, _ = found(ProjectState())
    assert rule.id == "safemigrations.E021"


def test_a_foreign_key_follows_a_move_that_was_written_by_hand():
    """The table is the same, and so are its keys."""
    before = ProjectState()
    book(db_table="store_book").state_forwards("archive", before)
    for operation in (store(), LOAN):
        operation.state_forwards("shop", before)
    after, follow = before.clone(), AlterField("Loan", "book", models.ForeignKey("archive.Book", models.CASCADE))
    follow.state_forwards("shop", after)
    assert rules.find(follow, Context("shop", before, after)) is None
