"""What a rule recognises, what it says, and what it wants written instead."""

from __future__ import annotations

import re
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.functions import RandomUUID
from django.db import migrations, models
from django.db.migrations import operations as stock
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models.functions import Lower, Now, Upper
from django.test import override_settings

import safemigrations.operations
from safemigrations.checking import rules
from safemigrations.hooks.autodetector import replace_unsafe
from safemigrations.operations.add_unique_constraint import notice
from safemigrations.operations.alteration import described
from safemigrations.operations.rule import Context
from safemigrations.operations.written import written

from .shop import KEY, Nowhere, Shop, book

TITLE = models.Index(fields=["title"], name="book_title")
AUTHOR = stock.CreateModel("Author", [KEY])
OLD_RELEASE = "the old release"


def number() -> int:
    return 5


def _function(row: Any) -> str:
    return str(row.title)


def filled(backfill: Any, **options: Any) -> Operation:
    field: Any = models.CharField(max_length=9)
    return safemigrations.operations.AddFieldNullableThenBackfill("book", "extra", field, backfill, **options)


def context(operation: Operation, *before: Operation, release: tuple[Operation, ...] = ()) -> Context:
    state = ProjectState()
    for earlier in before or (AUTHOR, book()):
        earlier.state_forwards(Shop.label, state)
    after = state.clone()
    operation.state_forwards(Shop.label, after)
    return Context(Shop.label, state, after, [(Shop.label, other) for other in (operation, *release)])


def found(operation: Operation, *before: Operation, release: tuple[Operation, ...] = ()) -> Any:
    """(id, message, replacement as written or the way by hand), or None."""
    result = rules.find(operation, context(operation, *before, release=release))
    if result is None:
        return None
    rule, finding = result
    instead = "\n".join(written(safe) for safe in finding.replacement) or finding.way_by_hand
    return rule.id, finding.message, instead


def add(field: Any, name: str = "extra") -> stock.AddField:
    return stock.AddField("book", name, field)


def drops_default(name: str = "extra") -> str:
    return (
        f"AddField {name} of book drops its default at once: {OLD_RELEASE} inserts rows without {name} and fails on "
        "NOT NULL."
    )


def renames(old: str, new: str, column: str = "") -> str:
    return (
        f"RenameField {old} of book to {new} renames the column at once: {OLD_RELEASE} names it in every query. "
        f'(Where only Python\'s name has to change, {new} = ...(db_column="{column or old}") in models.py costs '
        "nothing.)"
    )


def with_default(field: str, name: str = "extra") -> str:
    return f"AddFieldWithDefault(\n    model_name='book',\n    name='{name}',\n    field={field},\n)"


# What each rule recognises: operation, models before it (none: Author and Book), id, message, what is written instead.

REWRITES = "AddField extra of book rewrites the whole table while nobody can read or write."
BY_HAND = (
    "Add a plain nullable field beside it and keep that filled, with a trigger and in batches: PostgreSQL makes no "
    "plain column a generated one. A virtual one (db_persist=False, PostgreSQL 18) is instant. Or decide that the "
    "table is small, with allow_unsafe on the migration."
)
EXCLUSION = (
    "Measure it on a copy of the table. Where the wait can be borne, say so with allow_unsafe on the migration: "
    "migrate takes the lock without queueing anybody. Where it can't, make a new table with the constraint, let a "
    "release write to both, copy the rows in batches, and let the next release read the new one."
)
COMPOSITE: list[Any] = [
    ("pk", models.CompositePrimaryKey("title", "number")),
    ("title", models.CharField(max_length=9)),
    ("number", models.IntegerField()),
]


class Frozen(models.BaseConstraint):
    """A constraint of somebody's own."""


UNSAFE: dict[str, tuple[Operation, tuple[Operation, ...], str, str, str]] = {
    "index": (
        stock.AddIndex("book", TITLE),
        (),
        "safemigrations.E001",
        (
            "AddIndex book_title on book builds the index under a SHARE lock: nobody can write to the table until it "
            "is ready."
        ),
        (
            "AddIndexConcurrently(\n    model_name='book',\n"
            "    index=models.Index(fields=['title'], name='book_title'),\n)"
        ),
    ),
    "removal of an index": (
        stock.RemoveIndex("book", "book_title"),
        (book(indexes=[TITLE]),),
        "safemigrations.E002",
        (
            "RemoveIndex book_title from book drops the index at once: everybody queues behind its ACCESS EXCLUSIVE "
            f"lock, and the queries of {OLD_RELEASE} want the index."
        ),
        "RemoveIndexLater(\n    model_name='book',\n    name='book_title',\n)",
    ),
    "constant": (
        add(models.IntegerField(default=0)),
        (),
        "safemigrations.E010",
        drops_default(),
        with_default("models.IntegerField(default=0)"),
    ),
    "empty text": (
        add(models.CharField(blank=True, max_length=5)),
        (),
        "safemigrations.E010",
        drops_default(),
        with_default("models.CharField(blank=True, max_length=5)"),
    ),
    "uuid": (
        add(models.UUIDField(default=uuid.uuid4, unique=True)),
        (),
        "safemigrations.E010",
        drops_default(),
        with_default("models.UUIDField(default=uuid.uuid4, unique=True)"),
    ),
    "auto_now_add": (
        add(models.DateTimeField(auto_now_add=True)),
        (),
        "safemigrations.E010",
        drops_default(),
        with_default("models.DateTimeField(auto_now_add=True)"),
    ),
    "volatile db_default": (
        add(models.UUIDField(db_default=RandomUUID(), null=True)),
        (),
        "safemigrations.E010",
        (
            "AddField extra of book has a volatile db_default: PostgreSQL rewrites the whole table while nobody can "
            "read or write."
        ),
        with_default("models.UUIDField(db_default=django.contrib.postgres.functions.RandomUUID(), null=True)"),
    ),
    "indexed db_default": (
        add(models.IntegerField(db_default=3, db_index=True)),
        (),
        "safemigrations.E012",
        "AddField extra of book builds its index while nobody can write to the table.",
        with_default("models.IntegerField(db_default=3, db_index=True)").replace("WithDefault", "Concurrently"),
    ),
    "unique constant": (
        add(models.IntegerField(default=0, unique=True)),
        (),
        "safemigrations.E010",
        (
            "AddField extra of book is unique and has one default: the second row, and the second one that the old "
            "release inserts, fails."
        ),
        (
            "Give the field a default that differs for each row (uuid.uuid4, a function), or make it nullable in this "
            "release and NOT NULL in the next."
        ),
    ),
    "generated": (
        add(models.GeneratedField(expression=Upper("title"), output_field=models.TextField(), db_persist=True)),
        (),
        "safemigrations.E010",
        REWRITES,
        BY_HAND,
    ),
    "python default": (
        add(models.IntegerField(default=number)),
        (),
        "safemigrations.E011",
        (
            f"AddField extra of book gives every row the value of one call and then drops its default: {OLD_RELEASE} "
            "inserts rows without extra and fails on NOT NULL."
        ),
        (
            "AddFieldNullableThenBackfill(\n    model_name='book',\n    name='extra',\n"
            "    field=models.IntegerField(default=tests.test_rules.number),\n)"
        ),
    ),
    "removal of a field": (
        stock.RemoveField("book", "title"),
        (),
        "safemigrations.E020",
        f"RemoveField title of book drops the column at once: {OLD_RELEASE} names it in every SELECT and INSERT.",
        "RemoveFieldLater(\n    model_name='book',\n    name='title',\n)",
    ),
    "removal of the key": (
        stock.RemoveField("book", "id"),
        (),
        "safemigrations.E020",
        f"RemoveField id of book removes the primary key: {OLD_RELEASE} can't work without it.",
        (
            "Keep the key; or build a new table with the new key and move the rows over several releases. Where it "
            'only gets another name, db_column="id" keeps its column.'
        ),
    ),
    "deletion of a model": (
        stock.DeleteModel("Book"),
        (),
        "safemigrations.E021",
        f"DeleteModel Book drops the table at once: {OLD_RELEASE} reads and writes it.",
        "DeleteModelLater(\n    name='Book',\n)",
    ),
    "rename of a field": (
        stock.RenameField("book", "title", "name"),
        (),
        "safemigrations.E050",
        renames("title", "name"),
        "ExpandRename(\n    model_name='book',\n    old_name='title',\n    new_name='name',\n)",
    ),
    "rename of a foreign key": (
        stock.RenameField("book", "author", "writer"),
        (AUTHOR, book(("author", models.ForeignKey("shop.author", models.CASCADE)))),
        "safemigrations.E050",
        renames("author", "writer", "author_id"),
        "ExpandRename(\n    model_name='book',\n    old_name='author',\n    new_name='writer',\n)",
    ),
    "rename of the key": (
        stock.RenameField("book", "id", "number"),
        (),
        "safemigrations.E050",
        renames("id", "number"),
        "Do that: queries that group by the primary key accept no other column, so it can't have two names.",
    ),
    "rename of a field of the key": (
        stock.RenameField("book", "number", "issue"),
        (stock.CreateModel("Book", COMPOSITE),),
        "safemigrations.E050",
        renames("number", "issue"),
        "Do that: queries that group by the primary key accept no other column, so it can't have two names.",
    ),
    "rename of many to many": (
        stock.RenameField("book", "authors", "writers"),
        (AUTHOR, book(("authors", models.ManyToManyField("shop.author")))),
        "safemigrations.E050",
        (
            f"RenameField authors of book to writers renames its table at once: {OLD_RELEASE} names it in every query. "
            "(Where only Python's name has to change, writers = models.ManyToManyField(..., "
            'db_table="shop_book_authors") in models.py costs nothing.)'
        ),
        "ExpandRename(\n    model_name='book',\n    old_name='authors',\n    new_name='writers',\n)",
    ),
    "rename of a model": (
        stock.RenameModel("Book", "Novel"),
        (AUTHOR, book(("authors", models.ManyToManyField("shop.author")))),
        "safemigrations.E051",
        (
            f"RenameModel Book to Novel renames shop_book, shop_book_authors at once: {OLD_RELEASE} goes on under "
            "the old name. Where only the class gets another name, db_table = 'shop_book' in the Meta of Novel leaves "
            "the table alone, which costs nothing."
        ),
        "ExpandRenameModel(\n    old_name='Book',\n    new_name='Novel',\n)",
    ),
    "rename of a model with a table of its own, which others call after it": (
        stock.RenameModel("Author", "Writer"),
        (
            stock.CreateModel("Author", [KEY], {"db_table": "authors"}),
            book(("authors", models.ManyToManyField("shop.author"))),
        ),
        "safemigrations.E051",
        (
            f"RenameModel Author to Writer renames shop_book_authors at once: {OLD_RELEASE} goes on under the old "
            "name. Where only the class gets another name, db_table = 'authors' in the Meta of Writer leaves the table "
            "alone, which costs nothing."
        ),
        "ExpandRenameModel(\n    old_name='Author',\n    new_name='Writer',\n)",
    ),
    "another table": (
        stock.AlterModelTable("book", "novels"),
        (),
        "safemigrations.E052",
        f"AlterModelTable book renames shop_book at once: {OLD_RELEASE} goes on under the old name.",
        "ExpandAlterModelTable(\n    name='book',\n    table='novels',\n)",
    ),
    "removal of a constraint": (
        stock.RemoveConstraint("book", "book_unique"),
        (book(constraints=[models.UniqueConstraint(fields=["title"], name="book_unique")]),),
        "safemigrations.E030",
        (
            "RemoveConstraint book_unique from book drops it at once: where upserts of the old release need it, they "
            "fail."
        ),
        "RemoveConstraintLater(\n    model_name='book',\n    name='book_unique',\n)",
    ),
    "unique_together": (
        stock.AlterUniqueTogether("book", {("title", "id")}),
        (),
        "safemigrations.E031",
        "AlterUniqueTogether of book builds an index while nobody can read or write.",
        "AlterUniqueTogetherConcurrently(\n    name='book',\n    unique_together={('title', 'id')},\n)",
    ),
    "unique constraint": (
        stock.AddConstraint("book", models.UniqueConstraint(Upper("title"), name="book_unique")),
        (),
        "safemigrations.E032",
        (
            "AddConstraint book_unique on book builds its index under a lock: nobody can write to the table until it "
            "is ready."
        ),
        (
            "AddConstraintConcurrently(\n    model_name='book',\n    constraint=models.UniqueConstraint("
            "django.db.models.functions.text.Upper('title'), name='book_unique'),\n)"
        ),
    ),
    "check constraint": (
        stock.AddConstraint("book", models.CheckConstraint(condition=models.Q(id__gt=0), name="book_check")),
        (),
        "safemigrations.E033",
        (
            "AddConstraint book_check on book reads the whole table while nobody can read or write, and then "
            f"{OLD_RELEASE} fails where it writes what the check forbids."
        ),
        (
            "ValidateConstraintLater(\n    model_name='book',\n    constraint=models.CheckConstraint("
            "condition=models.Q(('id__gt', 0)), name='book_check'),\n)"
        ),
    ),
    "exclusion constraint": (
        stock.AddConstraint("book", ExclusionConstraint(name="book_once", expressions=[("title", "=")])),
        (),
        "safemigrations.E034",
        (
            "AddConstraint book_once on book builds its index while nobody can read or write, and PostgreSQL has no "
            "online way to add an exclusion constraint. The old release fails where it writes what "
            "the constraint forbids."
        ),
        EXCLUSION,
    ),
    "constraint of somebody's own": (
        stock.AddConstraint("book", Frozen(name="book_frozen")),
        (),
        "safemigrations.E034",
        "AddConstraint book_frozen on book adds a Frozen, and nothing is known about what it locks or reads.",
        (
            "Look at its SQL with sqlmigrate; where it is harmless, or the table small, say so with allow_unsafe on "
            "the migration."
        ),
    ),
    "removal from unique_together": (
        stock.AlterUniqueTogether("book", set()),
        (book(unique_together={("title", "id")}),),
        "safemigrations.E031",
        "AlterUniqueTogether of book takes away the index that upserts of the old release need.",
        "AlterUniqueTogetherConcurrently(\n    name='book',\n    unique_together=set(),\n)",
    ),
}


@pytest.mark.parametrize("what", UNSAFE)
def test_what_is_unsafe(what):
    operation, before, *expected = UNSAFE[what]
    assert found(operation, *before) == tuple(expected)


@pytest.mark.parametrize("what", UNSAFE)
def test_the_replacement_can_be_pasted(what):
    """With the imports of our operations it is valid, and leads to the same state."""
    operation, before, *_ = UNSAFE[what]
    result = rules.find(operation, context(operation, *before))
    assert result
    for safe in result[1].replacement:
        names = {**vars(safemigrations.operations), "models": models, "uuid": uuid}
        exec("import django.contrib.postgres.functions\nimport tests.test_rules", names)
        pasted = eval(written(safe), names)
        assert written(pasted) == written(safe)
        ours, stocks = context(pasted, *before).after, context(operation, *before).after
        assert models_of(ours) == models_of(stocks)
        assert rules.find(pasted, context(pasted, *before)) is None


def models_of(state: ProjectState) -> list[str]:
    return [
        written(stock.CreateModel(model.name, list(model.fields.items()), model.options))
        for model in state.models.values()
    ]


SAFE: dict[str, tuple[Operation, tuple[Operation, ...]]] = {
    "nullable": (add(models.IntegerField(null=True)), ()),
    "nullable with a default": (add(models.IntegerField(null=True, default=5)), ()),
    "constant db_default": (add(models.IntegerField(db_default=5)), ()),
    "stable db_default": (add(models.DateTimeField(db_default=Now())), ()),
    "virtual generated": (
        add(models.GeneratedField(expression=Upper("title"), output_field=models.TextField(), db_persist=False)),
        (),
    ),
    "choices": (stock.AlterField("book", "title", models.CharField(choices=[("a", "A")], max_length=100)), ()),
    "rename in Python": (
        stock.RenameField("book", "extra", "more"),
        (book(("extra", models.IntegerField(db_column="extra"))),),
    ),
    "rename of many to many in Python": (
        stock.RenameField("book", "authors", "writers"),
        (AUTHOR, book(("authors", models.ManyToManyField("shop.author", db_table="shop_book_authors")))),
    ),
    "rename of an index": (stock.RenameIndex("book", "new", old_name="book_title"), (book(indexes=[TITLE]),)),
    "options": (stock.AlterModelOptions("book", {"ordering": ["title"]}), ()),
    "managers": (stock.AlterModelManagers("book", [("objects", models.Manager())]), ()),
    "comment": (stock.AlterModelTableComment("book", "Books"), ()),
    "same unique_together": (
        stock.AlterUniqueTogether("book", {("title", "id")}),
        (book(unique_together={("title", "id")}),),
    ),
    "new model": (stock.CreateModel("Loan", [KEY]), ()),
    "state only": (stock.SeparateDatabaseAndState(state_operations=[stock.AddIndex("book", TITLE)]), ()),
    "proxy": (
        stock.AddIndex("tale", TITLE),
        (book(), stock.CreateModel("Tale", [], {"proxy": True}, bases=("shop.book",))),
    ),
    "unmanaged": (add(models.IntegerField(default=0)), (book(managed=False),)),
    "deletion of a proxy": (
        stock.DeleteModel("Tale"),
        (book(), stock.CreateModel("Tale", [], {"proxy": True}, bases=("shop.book",))),
    ),
    "deletion of an unmanaged model": (stock.DeleteModel("Book"), (book(managed=False),)),
    "rename of a model whose table has a name of its own": (
        stock.RenameModel("Book", "Novel"),
        (book(db_table="books"),),
    ),
    "rename of a proxy": (
        stock.RenameModel("Tale", "Story"),
        (book(), stock.CreateModel("Tale", [], {"proxy": True}, bases=("shop.book",))),
    ),
    "the same table": (stock.AlterModelTable("book", "shop_book"), ()),
    "ours": (safemigrations.operations.AddIndexConcurrently("book", TITLE), ()),
    "python code": (migrations.RunPython(migrations.RunPython.noop), ()),
}


@pytest.mark.parametrize("what", SAFE)
def test_what_is_safe_as_it_is(what):
    operation, before = SAFE[what]
    assert found(operation, *before) is None


def test_a_swapped_model():
    before = book(swappable="SHOP_BOOK")
    with override_settings(SHOP_BOOK="auth.User"):
        assert found(stock.AddIndex("book", TITLE), before) is None
    with override_settings(SHOP_BOOK="shop.Book"):
        assert found(stock.AddIndex("book", TITLE), before)


def test_an_app_that_the_router_keeps_out():
    with override_settings(DATABASE_ROUTERS=[Nowhere()]):
        assert found(stock.AddIndex("book", TITLE)) is None


# What else the same release changes.


def test_an_index_whose_name_another_one_takes_is_set_aside():
    new = stock.AddIndex("book", models.Index(fields=["-title"], name="book_title"))
    _, _, instead = found(stock.RemoveIndex("book", "book_title"), book(indexes=[TITLE]), release=(new,))
    assert instead == "RemoveIndexLater(\n    model_name='book',\n    name='book_title',\n    set_aside=True,\n)"


NAMED: dict[str, tuple[Operation, Operation, dict[str, Any]]] = {
    "index": (stock.AddIndex("book", TITLE), stock.RemoveIndex("book", "book_title"), {"indexes": [TITLE]}),
    "unique": (
        stock.AddConstraint("book", models.UniqueConstraint(fields=["id", "title"], name="book_title")),
        stock.RemoveConstraint("book", "book_title"),
        {"constraints": [models.UniqueConstraint(fields=["title"], name="book_title")]},
    ),
    "check": (
        stock.AddConstraint("book", models.CheckConstraint(condition=models.Q(id__gt=0), name="book_title")),
        stock.RemoveConstraint("book", "book_title"),
        {"constraints": [models.CheckConstraint(condition=models.Q(id__gt=1), name="book_title")]},
    ),
}


@pytest.mark.parametrize("new", NAMED)
@pytest.mark.parametrize("old", NAMED)
def test_what_another_takes_the_name_of_is_set_aside(old, new):
    (add, *_), (_, remove, options) = NAMED[new], NAMED[old]
    _, _, instead = found(remove, book(**options), release=(add,))
    assert "set_aside=True" in instead
    _, _, instead = found(add, release=(remove,))
    assert ("takes_over=True" in instead) is (new != "check")


def test_a_name_that_another_model_takes_is_set_aside_too():
    """Names of indexes are those of the schema."""
    created = stock.CreateModel("Loan", [KEY], {"indexes": [models.Index(fields=["id"], name="book_title")]})
    for other in (created, stock.AddIndex("author", models.Index(fields=["id"], name="book_title"))):
        _, _, instead = found(stock.RemoveIndex("book", "book_title"), book(indexes=[TITLE]), release=(other,))
        assert "set_aside=True" in instead


# What rows of the old release carry in fields of the new one.

FLAG = models.BooleanField(default=False)
CODE = models.CharField(max_length=9, null=True)
UNIQUE_OVER: dict[str, tuple[str, models.Field[Any, Any] | Operation, dict[str, Any]]] = {
    "one default": ("refused", FLAG, {}),
    "one default, in an expression": ("refused", FLAG, {"expressions": True}),
    "one default, that the condition leaves out": ("quiet", FLAG, {"condition": models.Q(extra=True)}),
    "one default, that another condition leaves in": ("refused", FLAG, {"condition": models.Q(extra=False)}),
    "one default, of which one condition is enough": (
        "refused",
        FLAG,
        {"condition": models.Q(extra=True) | models.Q(title="a")},
    ),
    "one db_default": ("refused", models.IntegerField(db_default=5), {}),
    "one moment": ("refused", models.DateTimeField(db_default=Now()), {}),
    "one default of existing rows": ("refused", models.IntegerField(default=5, null=True), {}),
    "another value for each row": ("told", models.UUIDField(default=uuid.uuid4), {}),
    "null": ("quiet", CODE, {}),
    "null, which is the same": ("refused", CODE, {"nulls_distinct": False}),
    "null, that the condition leaves out": ("quiet", CODE, {"nulls_distinct": False, "condition": models.Q(extra="a")}),
    "computed later": ("quiet", models.IntegerField(default=number), {}),
    "computed by an expression": ("told", filled(Upper("title")), {}),
    "one value by an expression": ("refused", filled(models.Value("a")), {}),
    "one value meanwhile": ("refused", filled(_function, meanwhile="a"), {}),
    "computed meanwhile": ("told", filled(_function, meanwhile=Upper("title")), {}),
}


@pytest.mark.parametrize("what", UNIQUE_OVER)
def test_a_unique_constraint_over_a_field_of_the_same_release(what):
    expected, field, options = UNIQUE_OVER[what]
    adding = field if isinstance(field, Operation) else add(field)
    keys = ("extra", "title") if options.pop("expressions", False) else ()
    rest = options if keys else {"fields": ["extra", "title"], **options}
    operation = stock.AddConstraint("book", models.UniqueConstraint(*keys, name="book_unique", **rest))
    assert outcome(operation, adding) == expected
    if not options:
        assert outcome(stock.AlterUniqueTogether("book", {("extra", "title")}), adding) == expected


def outcome(operation: Operation, adding: Operation) -> str:
    """What becomes of a constraint over a field that `adding` adds in the same release."""
    result = rules.find(operation, context(operation, AUTHOR, book(), adding, release=(adding,)))
    assert result
    _, finding = result
    if not finding.replacement:
        assert finding.way_by_hand.startswith("Add extra in this release, and the ")
        return "refused"
    return "told" if finding.notice else "quiet"


def test_the_person_is_told_that_old_code_does_not_know_a_unique_constraint():
    unique = models.UniqueConstraint(fields=["title"], name="book_unique")
    operation = stock.AddConstraint("book", unique)
    result = rules.find(operation, context(operation))
    assert result
    assert result[1].notice == (
        "book: from migrate on, unique (title) also refuses what the old release writes, which doesn't know it. "
        "If that may write duplicates, let a release before this one stop it."
    )


@pytest.mark.parametrize("name", ["author", "id"])
def test_a_field_goes_with_its_model(name):
    """The link of a child to its parent, which is its key, too."""
    before = AUTHOR, book(("author", models.ForeignKey("shop.author", models.CASCADE)))
    _, _, instead = found(stock.RemoveField("book", name), *before, release=(stock.DeleteModel("Book"),))
    assert instead == f"RemoveFieldLater(\n    model_name='book',\n    name='{name}',\n    with_model=True,\n)"


@pytest.mark.parametrize("wanted", ["unique_together", "unique"])
def test_a_constraint_that_takes_the_place_of_a_unique_set_refuses_nothing_new(wanted):
    table = {"unique_together": {("title",)}} if wanted == "unique_together" else {}
    title = models.TextField(unique=wanted == "unique")
    state = ProjectState()
    stock.CreateModel("Book", [KEY, ("title", title), ("pages", models.IntegerField())], table).state_forwards(
        "shop", state
    )
    context = Context("shop", state, state, (), state)
    assert (
        notice(context, "book", ["title", "pages"], models.UniqueConstraint(fields=["title", "pages"], name="one"))
        == ""
    )
    lower = models.UniqueConstraint(Lower("title"), name="two")
    assert "also refuses what the old release writes" in notice(context, "book", ["title"], lower)


def test_a_many_to_many_field_goes_as_it_always_does():
    before = AUTHOR, book(("authors", models.ManyToManyField("shop.author")))
    _, _, instead = found(stock.RemoveField("book", "authors"), *before, release=(stock.DeleteModel("Book"),))
    assert instead == "RemoveFieldLater(\n    model_name='book',\n    name='authors',\n)"


TAKES_ITS_NAME = {
    "new model": stock.CreateModel("Novel", [KEY], {"db_table": "shop_book"}),
    "its many-to-many": stock.CreateModel(
        "Novel", [KEY, ("authors", models.ManyToManyField("shop.author", db_table="shop_book"))]
    ),
    "new many-to-many": stock.AddField("author", "books", models.ManyToManyField("self", db_table="shop_book")),
    "other table": stock.AlterModelTable("author", "shop_book"),
    "other name": stock.RenameModel("Author", "Book"),
}


@pytest.mark.parametrize("what", TAKES_ITS_NAME)
def test_a_table_whose_name_is_taken_in_the_same_release_is_refused(what):
    other = TAKES_ITS_NAME[what]
    id, message, instead = found(stock.DeleteModel("Book"), release=(other,))
    assert id == "safemigrations.E021"
    assert message == (
        f"DeleteModel Book drops a table whose name is taken in the same release ({other.describe()}): {OLD_RELEASE} "
        "would read and write the new one."
    )
    assert instead == (
        "If the new model has the old one's rows, write both operations into SeparateDatabaseAndState, which leaves "
        "the table alone. If not, give the new model another db_table; or make two releases: first without the old "
        "model, then, when migrate --contract has dropped its table, with the new one."
    )


def test_another_schema_is_refused():
    _, message, instead = found(stock.AlterModelTable("book", '"library"."tome"'))
    assert message == """AlterModelTable book to "library"."tome" fails in PostgreSQL."""
    assert instead.startswith("Django can't move a table into another schema. Do it by hand: ALTER TABLE")


AUTHORS = models.ManyToManyField("shop.author")
SAME_NAME: dict[str, tuple[Any, Operation]] = {
    "a column": (models.ForeignKey("shop.author", models.CASCADE), add(models.IntegerField(null=True), "extra_id")),
    "db_column": (models.IntegerField(), add(models.IntegerField(null=True, db_column="extra"), "more")),
    "a table": (AUTHORS, stock.CreateModel("Written", [KEY], {"db_table": "shop_book_extra"})),
    "db_table": (AUTHORS, add(models.ManyToManyField("shop.author", db_table="shop_book_extra"), "more")),
}
KEEP = (
    " Or keep the column and its values: delete the file and run makemigrations again, which gives the column to the "
    "new field."
)


@pytest.mark.parametrize("what", SAME_NAME)
def test_a_field_whose_name_is_taken_in_the_same_release_is_refused(what):
    field, other = SAME_NAME[what]
    author = stock.CreateModel("Author", [KEY])
    remove = stock.RemoveField("book", "extra")
    _, message, *replacement, instead = found(remove, author, book(("extra", field)), release=(remove, other))
    assert replacement == []
    assert message == (
        f"RemoveField extra of book drops a column or table whose name is taken in the same release "
        f"({other.describe()}): "
        f"{OLD_RELEASE} would read and write the new one."
    )
    assert instead == (
        "Give the new one another db_column, or db_table. Or make two releases: first without the old field, then, "
        f"when migrate --contract has dropped it, with the new one.{'' if field.many_to_many else KEEP}"
    )


RENAME = stock.RenameField("book", "title", "name")
FOLLOWERS = {
    "index": (models.Index(fields=["-title"], name="x"), models.Index(fields=["-name"], name="x")),
    "expression": (models.Index(Upper("title"), name="x"), models.Index(Upper("name"), name="x")),
    "condition": (
        models.Index(fields=["id"], condition=models.Q(title="it's"), name="x"),
        models.Index(fields=["id"], condition=models.Q(name="it's"), name="x"),
    ),
    "unique": (
        models.UniqueConstraint(fields=["title"], include=["id"], name="x"),
        models.UniqueConstraint(fields=["name"], include=["id"], name="x"),
    ),
    "check": (
        models.CheckConstraint(condition=models.Q(title__gt="a"), name="x"),
        models.CheckConstraint(condition=models.Q(name__gt="a"), name="x"),
    ),
}


def replaced(old: Any, new: Any) -> list[str]:
    """What becomes of a release that renames the field and takes an index or constraint away and adds one."""
    index = isinstance(old, models.Index)
    remove: Operation = stock.RemoveIndex("book", "x") if index else stock.RemoveConstraint("book", "x")
    add: Operation = stock.AddIndex("book", new) if index else stock.AddConstraint("book", new)
    migration = migrations.Migration("0002", Shop.label)
    migration.operations = [remove, RENAME, add]  # type: ignore[misc]
    state = ProjectState()
    book(**{"indexes" if index else "constraints": [old]}).state_forwards(Shop.label, state)
    replace_unsafe(state, {Shop.label: [migration]}, lambda text: None)
    return [type(operation).__name__ for operation in migration.operations]


@pytest.mark.parametrize("what", FOLLOWERS)
def test_what_follows_a_rename_is_neither_dropped_nor_built(what):
    assert replaced(*FOLLOWERS[what]) == ["FollowRename", "ExpandRename", "FollowRename"]


def generated(expression: Any) -> Any:
    return models.GeneratedField(expression=expression, output_field=models.TextField(), db_persist=True)


@pytest.mark.parametrize(("expression", "safe"), [(Upper("name"), True), (Lower("name"), False)])
def test_a_generated_field_follows_the_rename_of_what_it_is_computed_from(expression, safe):
    alter = stock.AlterField("book", "loud", generated(expression))
    migration = migrations.Migration("0002", Shop.label)
    migration.operations = [RENAME, alter]  # type: ignore[misc]
    state = ProjectState()
    book(("loud", generated(Upper("title")))).state_forwards(Shop.label, state)
    replace_unsafe(state, {Shop.label: [migration]}, lambda text: None)
    assert isinstance(migration.operations[1], safemigrations.operations.FollowRename) is safe


def test_an_index_that_changes_with_the_rename_is_replaced():
    old, new = models.Index(fields=["title"], name="x"), models.Index(fields=["-name"], name="x")
    assert replaced(old, new) == ["RemoveIndexLater", "ExpandRename", "AddIndexConcurrently"]


@pytest.mark.parametrize(
    "other",
    [
        stock.RenameField("book", "name", "label"),
        stock.RemoveField("book", "name"),
    ],
)
def test_a_rename_with_another_change_of_the_field_is_refused(other):
    _, _, instead = found(RENAME, release=(other,))
    assert instead == (
        f"The same release has {type(other).__name__} of name, which would change one of the two columns only: do that "
        "in the release after the contract."
    )


def test_a_rename_with_another_change_of_the_field_is_left_to_that():
    """The column keeps its name until the AlterField, which gives it both."""
    other = stock.AlterField("book", "name", models.CharField(max_length=200))
    assert found(RENAME, release=(other,))[2] == (
        "migrations.SeparateDatabaseAndState(\n    state_operations=[\n        migrations.AlterField(\n"
        "            model_name='book',\n            name='title',\n"
        "            field=models.CharField(db_column='title', max_length=100),\n        ),\n    ],\n)\n"
        "ExpandRename(\n    model_name='book',\n    old_name='title',\n    new_name='name',\n)"
    )


def test_a_rename_with_a_change_of_choices():
    other = stock.AlterField("book", "name", models.CharField(max_length=100, choices=[("a", "A")]))
    assert "ExpandRename" in found(RENAME, release=(other,))[2]


def test_a_class_that_is_renamed_keeps_its_table():
    """Django would move the table to the new default name, and back."""
    release = (stock.AlterModelTable("novel", "shop_book"),)
    _, _, instead = found(stock.RenameModel("Book", "Novel"), release=release)
    assert instead == (
        "migrations.AlterModelTable(\n    name='Book',\n    table='shop_book',\n)\n"
        "migrations.RenameModel(\n    old_name='Book',\n    new_name='Novel',\n)"
    )


def test_a_subclass_of_a_stock_operation_is_its_authors_business():
    class AddIndexMyWay(stock.AddIndex):
        pass

    class AddFieldMyWay(stock.AddField):
        pass

    assert found(AddIndexMyWay("book", TITLE)) is None
    assert found(AddFieldMyWay("book", "extra", models.IntegerField(default=0))) is None


def test_each_rule_has_an_id_of_its_own():
    ids = [rule.id for rule in rules.RULES]
    assert len(set(ids)) == len(ids)


def test_an_exclusion_constraint_can_be_removed():
    exclusion = ExclusionConstraint(name="book_once", expressions=[("title", "=")])
    assert found(stock.RemoveConstraint("book", "book_once"), book(constraints=[exclusion]))[0] == "safemigrations.E030"


# Types.


def retyped(old: Any, new: Any, **options: Any) -> Any:
    return found(stock.AlterField("book", "extra", new), book(("extra", old), **options))


def decimal(digits: int, places: int) -> Any:
    return models.DecimalField(max_digits=digits, decimal_places=places)


EXCHANGED: dict[str, tuple[Any, Any]] = {
    "a bigger number": (models.IntegerField(), models.BigIntegerField()),
    "a smaller number": (models.BigIntegerField(), models.IntegerField()),
    "a bigger positive number": (models.PositiveIntegerField(), models.PositiveBigIntegerField()),
    "more digits": (decimal(8, 2), decimal(10, 4)),
    "fewer digits": (decimal(10, 4), decimal(8, 2)),
    "a shorter text": (models.CharField(max_length=9), models.CharField(max_length=5)),
    "a text with a limit": (models.TextField(), models.CharField(max_length=5)),
    "a collation": (models.TextField(), models.TextField(db_collation="C")),
    "another column": (models.TextField(), models.TextField(db_column="more")),
}


@pytest.mark.parametrize("what", EXCHANGED)
def test_a_type_that_both_releases_understand(what):
    old, new = EXCHANGED[what]
    id, message, instead = retyped(old, new)
    assert id == "safemigrations.E043"
    assert message.startswith("AlterField extra of book gives its column another ")
    assert instead.startswith("ExpandAlterField(\n    model_name='book',\n    name='extra',\n    field=")


REFUSED: dict[str, tuple[Any, Any]] = {
    "text to number": (models.CharField(max_length=9), models.IntegerField()),
    "number to text": (models.IntegerField(), models.CharField(max_length=9)),
    "text to uuid": (models.CharField(max_length=36), models.UUIDField()),
    "text to json": (models.TextField(), models.JSONField()),
    "float to decimal": (models.FloatField(), decimal(8, 2)),
    "whole number to decimal": (models.IntegerField(), decimal(12, 0)),
    "date to moment": (models.DateField(), models.DateTimeField()),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_type_that_only_one_release_understands(what):
    old, new = REFUSED[what]
    id, _, instead = retyped(old, new)
    assert id == "safemigrations.E043"
    column = re.search(
        r'Give the new type a column of its own: write extra = \.\.\.\(db_column="(extra_\w+)"\)', instead
    )
    assert column, instead
    own = new.clone()
    own.db_column = column[1]
    assert retyped(old, own)[2].startswith("ExpandAlterField(\n    model_name='book',\n    name='extra',\n    field=")


def test_a_relation_of_another_type():
    _, _, instead = retyped(models.CharField(max_length=9), models.ForeignKey("shop.author", models.CASCADE))
    assert instead.startswith("No column can be of both types while two releases run. Add a new field beside it, which")


def test_a_relation_to_another_table():
    def to(name: str) -> Any:
        return models.ForeignKey(f"shop.{name}", models.CASCADE)

    alter = stock.AlterField("book", "extra", to("editor"))
    editor = stock.CreateModel("Editor", [KEY])
    assert "points at another table" in found(alter, AUTHOR, editor, book(("extra", to("author"))))[1]
    parent = models.OneToOneField("shop.author", models.CASCADE, parent_link=True, primary_key=True)
    child = stock.CreateModel("Editor", [("author_ptr", parent)], bases=("shop.author",))
    assert "points at another table" not in found(alter, AUTHOR, child, book(("extra", to("author"))))[1]
    moved = stock.CreateModel("Editor", [KEY], {"db_table": "shop_author"})
    assert found(alter, AUTHOR, moved, book(("extra", to("author")))) is None  # of the same table Django asks nothing


MANY: dict[str, tuple[Any, str]] = {
    "table": (models.ManyToManyField("shop.author", db_table="writers"), "renames its table at once"),
    "target": (models.ManyToManyField("shop.editor"), "points at another table"),
    "through": (models.ManyToManyField("shop.author", through="shop.role"), "changes `through`, which Django can't"),
}


@pytest.mark.parametrize("what", MANY)
def test_a_many_to_many_field_that_changes(what):
    field, harm = MANY[what]
    book_of = book(("extra", models.ManyToManyField("shop.author")))
    before = AUTHOR, stock.CreateModel("Editor", [KEY]), stock.CreateModel("Role", [KEY]), book_of
    id, message, instead = found(stock.AlterField("book", "extra", field), *before)
    assert id == "safemigrations.E041"
    assert harm in message
    assert instead
    same = models.ManyToManyField("shop.author", related_name="books", blank=True)
    assert found(stock.AlterField("book", "extra", same), *before) is None


def test_a_key_of_another_kind():
    alter = stock.AlterField("book", "id", models.UUIDField(primary_key=True))
    assert found(alter, book())[2].startswith("A key of another kind is another key")


def test_digits_that_move_from_one_side_of_the_point_to_the_other():
    """First a column for the values of both releases; and, with the contract, the digits that it shall have."""
    _, _, instead = retyped(decimal(8, 2), decimal(8, 4))
    assert instead.count("ExpandAlterField(") == 2
    assert instead.index("max_digits=10") < instead.index("max_digits=8")
    for old, new in ((decimal(8, 2), decimal(10, 4)), (decimal(10, 4), decimal(8, 4))):
        assert "ExpandAlterField" in retyped(old, new)[2]


COMBINED: dict[str, tuple[Any, Any, list[str]]] = {
    "a wider type, not null": (
        models.IntegerField(null=True),
        models.BigIntegerField(default=0),
        ["ExpandAlterField(BigIntegerField(default=0, null=True))", "SetNotNullLater(BigIntegerField(default=0))"],
    ),
    "a narrower type, not null": (
        models.BigIntegerField(null=True),
        models.IntegerField(default=0),
        ["SetNotNullLater(BigIntegerField(default=0))", "ExpandAlterField(IntegerField(default=0))"],
    ),
    "a type and a check": (
        models.IntegerField(),
        models.PositiveBigIntegerField(),
        ["ExpandAlterField(BigIntegerField())", "AlterFieldConcurrently(PositiveBigIntegerField())"],
    ),
    "a type without the check": (
        models.PositiveIntegerField(),
        models.BigIntegerField(),
        ["AlterField(IntegerField())", "ExpandAlterField(BigIntegerField())"],
    ),
    "a wider type in another column": (
        models.IntegerField(),
        models.BigIntegerField(db_column="more"),
        ["ExpandAlterField(BigIntegerField(db_column='extra'))", "ExpandAlterField(BigIntegerField(db_column='more'))"],
    ),
    "a narrower type in another column": (
        models.BigIntegerField(),
        models.IntegerField(db_column="more"),
        ["ExpandAlterField(BigIntegerField(db_column='more'))", "ExpandAlterField(IntegerField(db_column='more'))"],
    ),
    "an instant type in another column": (
        models.CharField(max_length=9),
        models.TextField(db_column="more"),
        ["AlterField(TextField(db_column='extra'))", "ExpandAlterField(TextField(db_column='more'))"],
    ),
    "another type in another column": (
        models.CharField(max_length=9),
        models.IntegerField(db_column="more"),
        ["ExpandAlterField(IntegerField(db_column='more'))"],
    ),
    "another type in another column, not null": (
        models.CharField(max_length=9, null=True),
        models.IntegerField(db_column="more", default=0),
        [
            "ExpandAlterField(IntegerField(db_column='more', default=0, null=True))",
            "SetNotNullLater(IntegerField(db_column='more', default=0))",
        ],
    ),
    "more digits, and a default that isn't a number or a text": (
        models.DecimalField(max_digits=6, decimal_places=2),
        models.DecimalField(max_digits=9, decimal_places=3, db_default=Decimal(7)),
        [
            "AlterField(DecimalField(db_default=Decimal('7'), decimal_places=2, max_digits=6))",
            "ExpandAlterField(DecimalField(db_default=Decimal('7'), decimal_places=3, max_digits=9))",
        ],
    ),
    "an array of smaller numbers in another column": (
        ArrayField(models.BigIntegerField()),
        ArrayField(models.IntegerField(), db_column="more"),
        [
            "ExpandAlterField(ArrayField(base_field=BigIntegerField(), db_column='more'))",
            "ExpandAlterField(ArrayField(base_field=IntegerField(), db_column='more'))",
        ],
    ),
    "a text with a limit, and an index": (
        models.TextField(),
        models.CharField(max_length=9, db_index=True),
        [
            "AlterFieldConcurrently(CharField(db_index=True))",
            "ExpandAlterField(CharField(db_index=True, max_length=9))",
        ],
    ),
    "another column, not null": (
        models.IntegerField(null=True),
        models.IntegerField(db_column="more", default=0),
        [
            "SetNotNullLater(IntegerField(db_column='extra', default=0))",
            "ExpandAlterField(IntegerField(db_column='more', default=0))",
        ],
    ),
    "a number that points at a row": (
        models.BigIntegerField(),
        models.ForeignKey("shop.author", models.CASCADE),
        [
            "AlterFieldConcurrently(ForeignKey(db_column='extra', db_index=False, to='shop.author'))",
            "ExpandAlterField(ForeignKey(db_index=False, to='shop.author'))",
            "AlterFieldConcurrently(ForeignKey(to='shop.author'))",
        ],
    ),
    "another column, nullable, with a default": (
        models.IntegerField(),
        models.IntegerField(db_column="more", null=True, db_default=3, unique=True),
        [
            "AlterField(IntegerField(db_column='extra', db_default=3, null=True))",
            "ExpandAlterField(IntegerField(db_column='more', db_default=3, null=True))",
            "AlterFieldConcurrently(IntegerField(db_column='more', db_default=3, null=True, unique=True))",
        ],
    ),
    "another column without its check": (
        models.PositiveIntegerField(),
        models.IntegerField(db_column="more"),
        ["AlterField(IntegerField(db_column='extra'))", "ExpandAlterField(IntegerField(db_column='more'))"],
    ),
    "another column and a check": (
        models.IntegerField(),
        models.PositiveIntegerField(db_column="more"),
        [
            "ExpandAlterField(IntegerField(db_column='more'))",
            "AlterFieldConcurrently(PositiveIntegerField(db_column='more'))",
        ],
    ),
    "another column and an index": (
        models.IntegerField(),
        models.IntegerField(db_column="more", db_index=True),
        [
            "ExpandAlterField(IntegerField(db_column='more'))",
            "AlterFieldConcurrently(IntegerField(db_column='more', db_index=True))",
        ],
    ),
    "another column without its index": (
        models.IntegerField(db_index=True),
        models.IntegerField(db_column="more"),
        [
            "AlterFieldConcurrently(IntegerField(db_column='extra'))",
            "ExpandAlterField(IntegerField(db_column='more'))",
        ],
    ),
}


@pytest.mark.parametrize("what", COMBINED)
def test_what_goes_with_another_type_or_name_is_an_operation_of_its_own(what):
    old, new, expected = COMBINED[what]
    operation = stock.AlterField("book", "extra", new)
    result = rules.find(operation, context(operation, AUTHOR, book(("extra", old))))
    assert result
    steps: Any = result[1].replacement
    written = [f"{type(step).__name__}({described(step.field)})" for step in steps]
    assert [text.replace(", size=None", "") for text in written] == expected  # Django 5.2 writes it, 6.1 doesn't


def test_what_else_changes_with_a_type_goes_first():
    new = models.BigIntegerField(null=True, db_index=True, db_default=3)
    _, _, instead = retyped(models.IntegerField(), new)
    assert instead == (
        "AlterFieldConcurrently(\n    model_name='book',\n    name='extra',\n"
        "    field=models.IntegerField(db_default=3, db_index=True, null=True),\n)\n"
        "ExpandAlterField(\n    model_name='book',\n    name='extra',\n"
        "    field=models.BigIntegerField(db_default=3, db_index=True, null=True),\n)"
    )


@pytest.mark.parametrize("new", [models.IntegerField(default=0), models.BigIntegerField(default=0)], ids=repr)
def test_one_value_for_rows_that_are_unique_until_the_contract(new):
    _, _, instead = retyped(models.IntegerField(null=True, unique=True), new)
    assert instead == (
        "It stays unique until the contract. Keep null=True of extra until then, and take it away in the release after "
        "that."
    )


def test_a_column_that_is_no_more_numbered():
    alter = stock.AlterField("book", "id", models.BigIntegerField(primary_key=True))
    _, _, instead = found(alter, book())
    assert instead.startswith("One of the two releases inserts rows without a number.")


def test_a_key_of_another_column():
    alter = stock.AlterField("book", "id", models.BigAutoField(primary_key=True, db_column="number"))
    _, _, instead = found(alter, book())
    assert instead.startswith("Do that: queries that group by the primary key accept no other column")


def test_the_message_about_a_narrower_type():
    operation = stock.AlterField("book", "title", models.CharField(max_length=9))
    result = rules.find(operation, context(operation))
    assert result
    assert result[1].notice == (
        "book.title gets its new type with the contract, as the old release may still write what that can't hold."
    )
