"""RenameModel -> ExpandRenameModel."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models, transaction
from django.db.migrations import AddField, AlterField, CreateModel, Migration, RenameModel
from django.db.models import Count
from django.test import override_settings

from safemigrations.errors import StepFailed
from safemigrations.operations import (
    AddFieldWithDefault,
    DeleteModelLater,
    ExpandAlterModelTable,
    ExpandRename,
    ExpandRenameModel,
    RemoveFieldLater,
)
from safemigrations.operations.written import written

from .cases import LABEL
from .releases import contract, installed, migrate, write
from .shop import (
    CATCH_UP,
    KEY,
    Nowhere,
    Shop,
    assert_does_what_stock_does,
    assert_is_read_back,
    book,
    file_of,
    optimized,
)

AUTHOR = CreateModel("Author", [KEY, ("name", models.TextField(default=""))])
RENAME = ExpandRenameModel("Book", "Novel")
STOCK = RenameModel("Book", "Novel")
SHELF = CreateModel("Shelf", [KEY, ("books", models.ManyToManyField("shop.book", related_name="shelves"))])


def by(to: str = "shop.author", **options: Any) -> models.ForeignKey[Any, Any]:
    return models.ForeignKey(to, options.pop("on_delete", models.CASCADE), **options)


def own_m2m(**options: Any) -> models.ManyToManyField[Any, Any]:
    return models.ManyToManyField("shop.author", related_name="books", **options)


# The exact plan.


def without_blocks(plan: str) -> str:
    """Without the DO blocks that copy owner and grants."""
    return "\n".join(line for line in plan.splitlines() if "DO $safemig$" not in line)


def test_the_plan(database):
    shop = Shop(database, book())
    assert without_blocks(shop.plan(RENAME)) == (
        "-- shop_book: its row-level security holds behind a view, too (looked up when it is run)\n"
        "-- shop_book: shop_book is called shop_novel, and a view has the old names\n"
        'ALTER TABLE "shop_book" RENAME TO "shop_novel";\n'
        'CREATE VIEW "shop_book" AS SELECT * FROM "shop_novel" safemig_old_name;\n'
        "COMMENT ON VIEW \"shop_book\" IS 'safemigrations: the old name of a table, until migrate --contract';\n"
        "-- Left for the contract:\n"
        "--   shop_book: no function of your triggers uses the old name (looked up when it is run)\n"
        "--   shop_book: drop the view; the table is called shop_novel\n"
        '--   DROP VIEW IF EXISTS "shop_book";'
    )
    assert shop.plan(RENAME, backwards=True) == (
        "-- shop_book: the table has its old name again\n"
        'DROP VIEW IF EXISTS "shop_book";\n'
        'ALTER TABLE "shop_novel" RENAME TO "shop_book";'
    )


def test_the_plan_of_a_table_whose_column_is_called_after_the_model(database):
    shop = Shop(database, book(db_table="books"), SHELF)
    rename = ExpandRenameModel("Book", "Novel")
    assert without_blocks(shop.plan(rename)) == (
        "-- shop_shelf_books: its row-level security holds behind a view, too (looked up when it is run)\n"
        "-- shop_shelf_books: shop_shelf_books is set aside, and a view has the old names\n"
        'ALTER TABLE "shop_shelf_books" RENAME TO "safemig_shop_shelf_books";\n'
        'CREATE VIEW "shop_shelf_books" AS SELECT *, "book_id" AS "novel_id" FROM "safemig_shop_shelf_books"'
        " safemig_old_name;\n"
        "COMMENT ON VIEW \"shop_shelf_books\" IS 'safemigrations: the old name of a table, until migrate --contract';\n"
        "-- Left for the contract:\n"
        "--   shop_shelf_books: the table stands under its name again, with the new names of its columns\n"
        '--   DROP VIEW IF EXISTS "shop_shelf_books";\n'
        '--   ALTER TABLE "safemig_shop_shelf_books" RENAME TO "shop_shelf_books";\n'
        '--   ALTER TABLE "shop_shelf_books" RENAME COLUMN "book_id" TO "novel_id";\n'
        f"--   shop_shelf_books: the foreign key of novel_id is called {foreign_key_of_novel(shop)}"
    )


def foreign_key_of_novel(shop: Shop) -> str:
    text = shop.plan(RENAME)
    return text.rpartition("the foreign key of novel_id is called ")[2].splitlines()[0]


# Forwards.


def use(model: Any) -> Any:
    """All that a release does with rows."""
    row = model.objects.create(title="Emma")
    first, second = model.objects.bulk_create([model(title="a"), model(title="b")])
    row.title = "Persuasion"
    row.save()
    model.objects.filter(pk=first.pk).update(title="c")
    model.objects.bulk_create(
        [model(pk=first.pk, title="d")], update_conflicts=True, unique_fields=["id"], update_fields=["title"]
    )
    model.objects.bulk_create([model(pk=second.pk, title="ignored")], ignore_conflicts=True)
    with transaction.atomic():
        assert model.objects.select_for_update().get(pk=first.pk).title == "d"
    second.delete()
    assert not model.objects.filter(pk=second.pk).exists()
    return row


def test_a_view_that_a_backup_gave_back_without_its_comment_goes_too(database):
    shop = Shop(database, book())
    shop.migrate(RENAME)
    shop.execute("COMMENT ON VIEW shop_book IS NULL")
    shop.contract()
    assert shop.tables() == {"django_migrations", "safemigrations_contract", "shop_novel"}


def test_both_names_work_until_the_contract(database):
    shop = Shop(
        database, book(("stock", models.IntegerField(db_default=7)), ("made", models.DateTimeField(auto_now_add=True)))
    )
    old = shop.model()
    shop.migrate(RENAME)
    new = shop.model("Novel")
    for one, other in ((old, new), (new, old)):
        written = use(one)
        assert written.stock == 7
        assert other.objects.get(pk=written.pk).title == "Persuasion"
    assert shop.left() == ["drop the old names of shop_novel"]
    shop.contract()
    assert shop.left() == []
    assert shop.tables() == {"django_migrations", "safemigrations_contract", "shop_novel"}
    use(new)


def test_old_code_groups_by_the_key(database):
    shop = Shop(database, AUTHOR, book(("author", by(null=True, related_name="books"))))
    old, old_author = shop.model(), shop.model("Author")
    emma = old.objects.create(title="Emma", author=old_author.objects.create(name="Austen"))
    shop.migrate(RENAME, ExpandRenameModel("Author", "Writer"))
    assert old_author.objects.annotate(count=Count("books")).get().count == 1
    counted = old.objects.select_related("author").annotate(count=Count("author__books")).get()
    assert (counted.pk, counted.author.name, counted.count) == (emma.pk, "Austen", 1)
    assert list(old.objects.values("author").annotate(count=Count("id")).values_list("author__name", "count")) == [
        ("Austen", 1)
    ]


def test_many_to_many_of_its_own_and_of_others(database):
    friends = models.ManyToManyField("self")
    shop = Shop(database, AUTHOR, book(("authors", own_m2m()), ("like", friends)), SHELF)
    old, old_author, old_shelf = shop.model(), shop.model("Author"), shop.model("Shelf")
    shop.migrate(RENAME)
    releases = [
        (old, old_author, old_shelf),
        (shop.model("Novel"), shop.model("Author"), shop.model("Shelf")),
    ]
    for (book_of, author_of, shelf_of), (others_book, _, others_shelf) in (releases, releases[::-1]):
        emma, evelina = book_of.objects.create(title="Emma"), book_of.objects.create(title="Evelina")
        austen, shelf = author_of.objects.create(), shelf_of.objects.create()
        emma.authors.add(austen)
        emma.like.add(evelina)
        shelf.books.set([emma, evelina])
        theirs = others_book.objects.get(pk=emma.pk)
        assert [author.pk for author in theirs.authors.all()] == [austen.pk]
        assert [other.pk for other in theirs.like.all()] == [evelina.pk]
        assert [other.pk for other in theirs.shelves.all()] == [shelf.pk]
        assert others_shelf.objects.annotate(count=Count("books")).get(pk=shelf.pk).count == 2
        theirs.like.clear()
        assert list(evelina.like.all()) == []
        others_shelf.objects.get(pk=shelf.pk).books.remove(others_book.objects.get(pk=evelina.pk))
        assert list(shelf.books.all()) == [emma]
        others_book.objects.get(pk=emma.pk).delete()
        assert list(shelf.books.all()) == []


EVERYTHING = (
    AUTHOR,
    book(
        ("author", by(null=True)),
        ("sequel_of", by("shop.book", null=True)),
        ("authors", own_m2m()),
        ("like", models.ManyToManyField("self")),
        ("code", models.CharField(max_length=5, unique=True, null=True)),
    ),
    SHELF,
    CreateModel(
        "Loan", [KEY, ("book", by("shop.book", related_name="+")), ("again", by("shop.book", related_name="loans"))]
    ),
    CreateModel("Cover", [("book", models.OneToOneField("shop.book", models.CASCADE, primary_key=True))]),
    CreateModel(
        "Special",
        [("book_ptr", models.OneToOneField("shop.book", models.CASCADE, parent_link=True, primary_key=True))],
    ),
)


def catalog_of(shop: Shop) -> Any:
    found = {
        table: (shop.columns(f'"{table}"'), shop.indexes(f'"{table}"'), shop.constraints(f'"{table}"'))
        for table in shop.tables()
        if table.startswith("shop_")
    }
    sequences = shop.execute(
        "SELECT relname FROM pg_class WHERE relkind IN ('S', 'v') AND relname ~ '^shop|^safemig_' ORDER BY 1"
    )
    return found, sequences


def test_the_end_is_that_of_the_stock_operation(two_databases):
    ends = []
    for connection, operation in zip(two_databases, (RENAME, STOCK), strict=True):
        shop = Shop(connection, *EVERYTHING)
        shop.migrate(operation)
        shop.contract()
        ends.append(catalog_of(shop))
    assert ends[0] == ends[1]
    assert "shop_novel_like" in ends[0][0]


@pytest.mark.parametrize("contracted", [False, True])
def test_backwards(database, contracted):
    shop = Shop(database, *EVERYTHING)
    before = catalog_of(shop)
    old = shop.model()
    row = old.objects.create(title="Emma")
    for _ in range(2):
        shop.migrate(RENAME)
        if contracted:
            shop.contract()
        shop.back()
        assert catalog_of(shop) == before
        assert shop.left() == []
    assert old.objects.get().pk == row.pk


def test_it_goes_on_where_it_stopped(database):
    shop = Shop(database, *EVERYTHING)
    shop.migrate(RENAME)
    shop.again()
    shop.contract()
    after = catalog_of(shop)
    with override_settings(SAFEMIGRATIONS={"CONTRACT": "immediately"}):
        shop.again()
    assert catalog_of(shop) == after


LOG = (
    "CREATE OR REPLACE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} RETURN NEW; END $$;"
    "CREATE OR REPLACE TRIGGER log AFTER INSERT ON shop_author FOR EACH ROW EXECUTE FUNCTION log()"
)


def test_a_function_that_uses_the_old_name_stops_the_contract(database):
    """PostgreSQL would find out with the next author, and then with every one."""
    shop = Shop(database, AUTHOR, book())
    shop.execute(LOG.format("""UPDATE "shop_book" SET title = '';"""))
    shop.migrate(RENAME)
    shop.model("Author").objects.create()
    with pytest.raises(StepFailed) as caught:
        shop.contract()
    assert str(caught.value) == (
        "shop_book: that name can't go yet, because functions of triggers use it, and writes would fail. They are: "
        "log(). Nothing was changed. Let them use the new name, which works already, and run the same command again."
    )
    shop.execute(LOG.format("UPDATE shop_novel SET title = '';"))
    shop.model("Author").objects.create()
    shop.contract()
    shop.model("Author").objects.create()


# Who may do what.


@pytest.fixture
def reader(database):
    name = f"reader_{database.settings_dict['NAME'][-8:]}"
    with database.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {name}")
        yield name
        cursor.execute(f"RESET ROLE; DROP OWNED BY {name}; DROP ROLE {name}")


def test_grants_are_those_of_the_table(database, reader):
    shop = Shop(database, book(("price", models.IntegerField(default=0)), ("secret", models.IntegerField(default=0))))
    shop.execute(f"GRANT SELECT (id, title), UPDATE (price) ON shop_book TO {reader} WITH GRANT OPTION")
    shop.execute("GRANT DELETE ON shop_book TO PUBLIC")
    shop.migrate(RENAME)
    rights = "SELECT relacl::text FROM pg_class WHERE relname = '{}'"
    assert shop.execute(rights.format("shop_book")) == shop.execute(rights.format("shop_novel"))
    shop.execute(f"SET ROLE {reader}")
    shop.execute("SELECT id, title FROM shop_book")
    shop.execute("UPDATE shop_book SET price = 1")
    shop.execute("DELETE FROM shop_book")
    with pytest.raises(Exception, match="permission denied for view shop_book"):
        shop.execute("SELECT secret FROM shop_book")


def test_the_view_belongs_to_whom_the_table_belongs(database, reader):
    shop = Shop(database, book())
    shop.execute(f"GRANT CREATE ON SCHEMA public TO {reader}; ALTER TABLE shop_book OWNER TO {reader}")
    shop.migrate(RENAME)
    owners = "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relname IN ('shop_book', 'shop_novel')"
    assert shop.execute(owners) == [reader]


def test_row_level_security(database, reader):
    shop = Shop(database, book())
    shop.model().objects.bulk_create([shop.model()(title="mine"), shop.model()(title="yours")])
    shop.execute("ALTER TABLE shop_book ENABLE ROW LEVEL SECURITY")
    shop.execute("CREATE POLICY own ON shop_book USING (title = 'mine')")
    shop.execute(f"GRANT SELECT, INSERT ON shop_book TO {reader}")
    if database.pg_version < 150000:
        with pytest.raises(StepFailed, match="and a server before PostgreSQL 15"):
            shop.migrate(RENAME)
        assert "shop_novel" not in shop.tables()
        return
    shop.migrate(RENAME)
    shop.execute(f"SET ROLE {reader}")
    assert shop.execute("SELECT title FROM shop_book") == ["mine"]
    with pytest.raises(Exception, match="violates row-level security policy"):
        shop.execute("INSERT INTO shop_book (title) VALUES ('yours')")


def test_row_level_security_and_grants_on_columns(database, reader):
    shop = Shop(database, book())
    shop.execute("ALTER TABLE shop_book ENABLE ROW LEVEL SECURITY")
    shop.execute(f"GRANT SELECT (title) ON shop_book TO {reader}")
    with pytest.raises(StepFailed) as caught:
        shop.migrate(RENAME)
    reason = "a server before PostgreSQL 15" if database.pg_version < 150000 else "grants on columns"
    assert str(caught.value) == (
        f"A view can't stand for shop_book, which has row-level security and {reason}. Nothing was changed. "
        "Give the model db_table = 'shop_book' in its Meta instead, which leaves the table alone."
    )


# What else happens to the table.


def test_a_column_that_the_release_before_removed_is_still_there_for_the_old_one(database):
    """The contract of a release that removes a field after it has renamed the model comes after that of the rename."""
    shop = Shop(database, book(("note", models.TextField(default="x"))))
    old = shop.model()
    shop.migrate(
        RENAME, RemoveFieldLater("novel", "note"), AddFieldWithDefault("novel", "extra", models.IntegerField(default=1))
    )
    old.objects.create(title="Emma", note="n")
    assert shop.model("Novel").objects.get().extra == 1
    assert old.objects.get().note == "n"
    shop.contract()
    assert list(shop.columns("shop_novel")) == ["id", "title", "extra"]
    assert shop.execute("SELECT relname FROM pg_class WHERE relkind = 'v' AND relname ~ 'shop'") == []


def test_a_field_is_renamed_in_the_same_release(database):
    shop = Shop(database, book())
    old = shop.model()
    row = old.objects.create(title="Emma")
    shop.migrate(RENAME, ExpandRename("novel", "title", "name"))
    new = shop.model("Novel")
    assert new.objects.get().name == "Emma"
    new.objects.update(name="Evelina")
    assert old.objects.get(pk=row.pk).title == "Evelina"
    use(old)
    shop.contract()
    assert list(shop.columns("shop_novel")) == ["id", "name"]


def test_the_renamed_model_may_be_deleted_before_the_contract(database):
    shop = Shop(database, book())
    shop.migrate(RENAME)
    shop.migrate(DeleteModelLater("Novel"))
    shop.contract()
    assert shop.tables() == {"django_migrations", "safemigrations_contract"}


HELD = (
    "The table {} still belongs to the contract of shop.0002 ({}). Nothing was changed. When no server runs the "
    "release before that migration any more, type: python manage.py migrate shop 0002 --contract --only" + CATCH_UP
)
NAMES = "drop the old names of shop_novel"
HOLDING: dict[str, tuple[Any, Any, str, str]] = {  # open contract, what comes next, the table, the contract's label
    "rename chain": (RENAME, ExpandRenameModel("Novel", "Tale"), "shop_novel", NAMES),
    "rename back": (RENAME, ExpandRenameModel("Novel", "Book"), "shop_book", NAMES),
    "table chain": (RENAME, ExpandAlterModelTable("novel", "tales"), "shop_novel", NAMES),
    "old name": (RENAME, CreateModel("Book", [KEY]), "shop_book", NAMES),
    "old name of a through table": (
        RENAME,
        CreateModel("Tale", [KEY], {"db_table": "shop_book_authors"}),
        "shop_book_authors",
        NAMES,
    ),
    "stock rename": (RENAME, RenameModel("Novel", "Tale"), "shop_novel", NAMES),
    "stock rename to the old name": (RENAME, RenameModel("Author", "Book"), "shop_book", NAMES),
    "column": (RemoveFieldLater("book", "title"), RENAME, "shop_book", "drop title of shop_book"),
}


@pytest.mark.parametrize("what", HOLDING)
def test_a_name_that_is_held_by_an_open_contract(database, tmp_path, what):
    before, after, table, label = HOLDING[what]
    parts = [Migration(f"000{number}", LABEL) for number in (1, 2, 3)]
    parts[0].initial, parts[1].atomic = True, False  # type: ignore[misc]
    parts[2].atomic = not type(after).__module__.startswith("safemigrations")  # type: ignore[misc]
    for number, operations in enumerate([[AUTHOR, book(("authors", own_m2m()))], [before], [after]]):
        parts[number].operations = operations  # type: ignore[misc]
        parts[number].dependencies = [(LABEL, f"000{number}")] if number else []  # type: ignore[misc]
    with installed(tmp_path, write(tmp_path, parts)):
        migrate("0001")
        migrate("0002")
        with pytest.raises(StepFailed) as caught:
            migrate("0003")
        assert str(caught.value) == HELD.format(table, label)
        contract()
        migrate("0003")


# Content types and permissions.

MODEL = "class {}(models.Model):\n    title = models.TextField()\n"


def test_content_types_and_permissions(project):
    project.set(INSTALLED_APPS=["safemigrations", "django.contrib.contenttypes", "django.contrib.auth", "shop"])
    project.write_models("shop", MODEL.format("Book"))
    project.manage("makemigrations", "shop").check()
    project.manage("migrate").check()
    ids = "SELECT id FROM django_content_type WHERE app_label = 'shop' AND model = '{}'"
    codes = "SELECT codename FROM auth_permission WHERE content_type_id = {} ORDER BY 1"
    ((before,),) = project.sql(ids.format("book"))

    project.write_models("shop", MODEL.format("Novel"))
    project.manage("makemigrations", "shop", "--name", "novel", input="y\n").check()
    project.manage("migrate").check()
    assert project.sql(ids.format("novel")) == [(before,)]
    assert project.sql(ids.format("book")) == []
    assert {(f"{what}_novel",) for what in ("add", "change", "delete", "view")} <= set(
        project.sql(codes.format(before))
    )

    project.migrate_and_contract()
    assert project.sql(ids.format("novel")) == [(before,)]
    project.manage("migrate", "shop", "0001").check()
    assert project.sql(ids.format("book")) == [(before,)]


# The written form.


def test_the_file():
    assert file_of(RENAME) == (
        "from django.db import migrations\n"
        "from safemigrations.operations import ExpandRenameModel\n"
        "\n\n"
        "class Migration(migrations.Migration):\n"
        "\n"
        "    atomic = False  # each step is a short transaction of its own\n"
        "\n"
        "    dependencies = [\n"
        "    ]\n"
        "\n"
        "    operations = [\n"
        "        ExpandRenameModel(\n"
        "            old_name='Book',\n"
        "            new_name='Novel',\n"
        "        ),\n"
        "    ]\n"
    )


def test_the_file_is_read_back():
    assert_is_read_back(RENAME)


def test_what_it_says_of_itself():
    assert RENAME.describe() == "Rename model Book to Novel; both names work until the contract"
    assert RENAME.migration_name_fragment == "rename_book_novel"
    assert RENAME.model_name == "Book"


# The optimizer.


def test_two_renames_are_not_folded():
    again = ExpandRenameModel("Novel", "Tale")
    assert optimized(RENAME, again) == [written(RENAME), written(again)]


def test_unrelated_operations_pass():
    note = AddField("author", "note", models.TextField(null=True))
    alter = AlterField("author", "note", models.CharField(max_length=5, null=True))
    after = AddField("author", "note", models.CharField(max_length=5, null=True))
    assert sorted(optimized(note, RENAME, alter)) == sorted([written(after), written(RENAME)])


# Other databases.


def test_where_the_router_says_no_nothing_happens(database):
    with override_settings(DATABASE_ROUTERS=[Nowhere()]):
        shop = Shop(database, book())
        shop.migrate(RENAME)
        assert shop.left() == []
        shop.back()
    assert shop.tables() == {"django_migrations"}


def test_another_backend_does_what_stock_does(tmp_path):
    assert_does_what_stock_does(tmp_path, RENAME, STOCK, AUTHOR, book(("authors", own_m2m())))


@pytest.mark.parametrize("options", [{"proxy": True}, {"managed": False}])
def test_a_model_without_a_table_of_its_own(database, options):
    bases = ("shop.book",) if options.get("proxy") else None
    shop = Shop(database, book(), CreateModel("Tale", [], options, bases))
    shop.migrate(ExpandRenameModel("Tale", "Story"))
    assert shop.left() == []


# Awkward names.


@pytest.mark.parametrize(("old", "new"), [("Bücher", "Книга"), ("B" * 60, "N" * 60)])
def test_awkward_names(database, old, new):
    model = CreateModel(
        old, [KEY, ("title", models.TextField()), ("authors", own_m2m()), ("like", models.ManyToManyField("self"))]
    )
    shop = Shop(database, AUTHOR, model)
    before = catalog_of(shop)
    old_model = shop.model(old)
    shop.migrate(ExpandRenameModel(old, new))
    use(old_model)
    use(shop.model(new))
    shop.contract()
    shop.back()
    assert catalog_of(shop) == before


# Wrong arguments.


def test_a_model_that_does_not_exist_is_named(database):
    shop = Shop(database, book())
    with pytest.raises(Exception, match="nothing"):
        shop.migrate(ExpandRenameModel("Nothing", "Something"))
