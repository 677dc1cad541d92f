"""AlterField that adds or removes an index, UNIQUE, a check or a foreign key -> AlterFieldConcurrently.

PostgreSQL builds or checks each of them while nobody can write to the table, and some stop the other release. A check
or a foreign key refuses what the old release writes or deletes. A unique constraint that goes takes
away the index that its upserts name. Django drops and checks a foreign key anew even where it doesn't change.
https://www.postgresql.org/docs/current/sql-altertable.html

So indexes and UNIQUE are built online during expand, because upserts of the new release need them. Before a check or a
foreign key is added the rows are asked, and it comes with the contract. What would refuse the new release's writes goes
during expand, the rest with the contract.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.db.migrations.operations import AlterField
from django.db.models import Field

from ..plans import claims, defaults
from ..plans.claims import Claims
from ..plans.column import Column, bound
from ..plans.foreign_key import ForeignKey, exchanged
from ..plans.index_and_check import build_index, name_in
from ..plans.indexes import BuildIndex, DropIndex
from ..plans.narrowing import fits_again
from ..plans.not_null import may_be_null
from ..plans.steps import Plan, Proof, Statement, Together
from ..plans.tables import when_parent_goes
from ..postgres.blocks import drop_found, for_each
from ..postgres.columns import column_has_type
from ..postgres.constraints import constraints_of_field, foreign_keys
from ..postgres.indexes import index_of_field
from ..postgres.lock import Lock
from ..postgres.names import Name, object_name, temporary_name
from ..postgres.probe import NEVER, Probe, no_row
from ..postgres.values import literal
from ..typed import field_indexes_sql, like_index_sql
from . import alter_many_to_many, foreign_key_to_another_model
from .alter_unique_together import no_duplicates
from .alteration import Alteration, described
from .base import Change, Situation
from .forms import alteration_at
from .parents import points_at_other_rows
from .parts import Part
from .rule import Context, Finding, Level, Rule


class AlterFieldConcurrently(Change, AlterField):
    """Add or remove an index, UNIQUE, a check or a foreign key of a column that both releases use.

    `lets_go` is for a foreign key of a table that only the new release knows: until the contract the old one may delete
    its parents, and the rows go with them, or point at nothing.
    """

    category = AlterField.category

    def __init__(
        self,
        model_name: str,
        name: str,
        field: Field[Any, Any],
        preserve_default: bool = True,
        lets_go: bool = False,
    ) -> None:
        self.lets_go = lets_go
        AlterField.__init__(self, model_name, name, field, preserve_default)
        self.wrap(AlterField(model_name, name, field, preserve_default))

    def is_alone(self, app_label: str, run: Any) -> bool:
        """The new table is known to this run alone, but the table that it points at isn't."""
        return bool(run.fresh) if self.lets_go else super().is_alone(app_label, run)

    def describe(self) -> str:
        if self.lets_go:
            return f"{AlterField.describe(self)}: its foreign key, which lets go of its parents until the contract"
        return f"{AlterField.describe(self)}, concurrently; what could refuse a release waits for the contract"

    @property
    def identity(self) -> str:
        return f"AlterFieldConcurrently({self.model_name_lower}.{self.name_lower}: {described(self.field)})"

    def _columns(self, at: Situation) -> tuple[Alteration, Column, Column]:
        change = alteration_at(at, self.model_name, self.name)
        self.refuse(change)
        old = Column(at.editor, at.old(self.model_name), change.old.field)
        return change, old, Column(at.editor, at.new(self.model_name), change.new.field)

    def refuse(self, change: Alteration) -> None:
        """Raises ValueError for changes that the operation doesn't make."""
        what = f"AlterFieldConcurrently {self.model_name}.{self.name}"
        if change.rewrites:
            raise ValueError(f"{what}: the column gets another type or name, which takes a column of its own.")
        if change.tightens_null:
            raise ValueError(f"{what}: the field may not be null any more. Use SetNotNullLater for that.")
        if change.drops_default:
            raise ValueError(f"{what}: the field loses its db_default. Use DropDefaultLater for that.")

    def contract_label(self, at: Situation) -> str:
        change, _, new = self._columns(at)
        parts = [text for text, is_left in _left(change) if is_left]
        return f"{' and '.join(parts)} of {new.name} of {new.label}"

    def reworks(self, at: Situation) -> Claims:
        change, _, new = self._columns(at)
        decided = change.relaxes_null or change.sets_default or change.removes_foreign_key or change.retargets
        return (new.claim,) if decided else ()

    def expand(self, at: Situation) -> Plan:
        change, old, new = self._columns(at)
        return (
            *self._proofs(at, change, new),
            *(_let_go(old) if change.removes_foreign_key or change.retargets else ()),
            *(_drop_check(old) if change.removes_check else ()),
            *_alter_column(change, old, new),
            *_build_indexes(old, new),
            *(new.unique_by_name() if change.adds_unique else ()),
            *(_exchange(old, new) if change.changes_on_delete and change.new.on_delete else ()),
            *(ForeignKey(new).that_lets_go(when_parent_goes(new)) if self.lets_go else ()),
        )

    def contract(self, at: Situation) -> Plan:
        change, old, new = self._columns(at)
        return (
            *(_drop_unique(old) if change.removes_unique else ()),
            *_drop_indexes(old, new),
            *(new.check_by_name() if change.adds_check else ()),
            *(self._add_foreign_key(new) if change.adds_foreign_key or change.retargets else ()),
            *(_exchange(old, new) if change.changes_on_delete and not change.new.on_delete else ()),
        )

    def _add_foreign_key(self, column: Column) -> Plan:
        return ForeignKey(column).own() if self.lets_go else ForeignKey(column).add()

    # The data is asked before anything is changed.

    def _proofs(self, at: Situation, change: Alteration, column: Column) -> Plan:
        return (
            *((no_duplicates(at, column.model, (self.name,)),) if change.adds_unique else ()),
            *((self._no_violators(column),) if change.adds_check else ()),
            *((self._no_orphans(column),) if self._may_have_orphans(change) else ()),
        )

    def _may_have_orphans(self, change: Alteration) -> bool:
        return (change.adds_foreign_key or change.retargets) and not self.lets_go

    def _no_violators(self, column: Column) -> Proof:
        keys = ", ".join(column.key)
        return Proof(
            why=f"{column.label}: every {column.name} is what its new type allows",
            query=f"SELECT {keys} FROM {column.table} WHERE NOT ({column.check_condition})",
            failure=(
                f"{self.model_name}.{self.name}: rows violate {column.check_condition}: {keys} {{rows}}. Nothing was "
                "changed. Fix them, then run the same command again."
            ),
        )

    def _no_orphans(self, column: Column) -> Proof:
        keys = ", ".join(column.key)
        return Proof(
            why=f"{column.label}: every {column.name} is in {column.parent.raw}",
            query=ForeignKey(column).orphans(),
            failure=(
                f"{self.model_name}.{self.name}: rows point at nothing in {column.parent.raw}: {keys} "
                "{rows}. Nothing was changed. Fix them, then run the same command again."
            ),
        )


def _left(change: Alteration) -> list[tuple[str, bool]]:
    return [
        ("drop the unique constraint", change.removes_unique),
        ("drop the index", change.removes_index or (change.removes_unique and not change.adds_index)),
        ("add the check", change.adds_check),
        ("add the foreign key", change.adds_foreign_key or change.retargets),
        ("take ON DELETE from the foreign key", change.changes_on_delete and not change.new.on_delete),
    ]


# The column itself.


def _alter_column(change: Alteration, old: Column, new: Column) -> Plan:
    return (
        *(_alter_type(change, old, new) if change.changes_type else ()),
        *((may_be_null(new),) if change.relaxes_null else ()),
        *((_set_default(change, old, new),) if change.sets_default else ()),
        *((_comment(old, new),) if change.changes_comment else ()),
    )


def _alter_type(change: Alteration, old: Column, new: Column) -> Plan:
    """Change the type instantly.

    The index for LIKE belongs to the type: a new one is built first, and takes the name over.
    """
    index = _like_index(new) if change.changes_like_index else None
    back = _like_index(old) if change.changes_like_index else None
    forth = _type_statement(new, change.new.type, index, f"{new.name} becomes {change.new.type}")
    undo = _type_statement(old, change.old.type, back, f"{old.name} becomes {change.old.type} again")
    # Built ahead again after the exchange, which a run that was killed before it was recorded had done, it would stay.
    fits = fits_again(new, old, done=undo.done)
    return (*_ahead(index, forth.done), replace(forth, undo=(*fits, *_ahead(back, undo.done), undo)))


def _like_index(column: Column) -> BuildIndex | None:
    reference = like_index_sql(column.editor, column.model, column.field)
    return build_index("", column.table, reference) if reference else None


def _ahead(index: BuildIndex | None, exchanged: Probe) -> Plan:
    """The new index under a name of its own, beside the one that it will replace; nothing if the exchange is done."""
    if index is None:
        return ()
    name, label = temporary_name(index.name), Name(index.table).raw
    drop = DropIndex(why=f"{label}: drop index {name}", table=index.table, name=name)
    why = f"{label}: index {index.name} for the new type"
    return (replace(index, why=why, name=name, takes=(), undo=(drop,), done=exchanged),)


def _type_statement(column: Column, type_: str, index: BuildIndex | None, why: str) -> Together:
    exchange = _take_over(column, index.name) if index else ()
    collation = f" COLLATE {column.collation}" if column.collation else ""  # else it becomes that of the type
    return Together(
        why=f"{column.label}: {why}",
        sql=(f"ALTER TABLE {column.table} ALTER COLUMN {column.quoted} TYPE {type_}{collation}", *exchange),
        locks={column.table: Lock.ACCESS_EXCLUSIVE},
        done=column_has_type(column.table, column.name, type_),
        works_on=(column.claim,),
        takes=(claims.view_of(column.table),),  # no type changes while a view has the table's old name
    )


def _take_over(column: Column, name: str) -> tuple[str, ...]:
    beside = column.table.beside
    new = beside(temporary_name(name))
    return (
        f"DROP INDEX IF EXISTS {beside(name)}",
        f"ALTER INDEX IF EXISTS {new} RENAME TO {Name.of(name)}",
    )


def _set_default(change: Alteration, old: Column, new: Column) -> Statement:
    default = defaults.sql(new.editor.connection, new.field)
    back = old.drop_default()
    if change.old.field.has_db_default():
        back = replace(old.set_default(defaults.sql(old.editor.connection, old.field)), done=NEVER)
    return replace(new.set_default(default), done=NEVER, undo=(back,))


def _comment(old: Column, new: Column) -> Statement:
    def comment(column: Column) -> Statement:
        text = literal(column.field.db_comment) if column.field.db_comment else "NULL"
        return Statement(
            why=f"{column.label}: comment on {column.name}",
            sql=f"COMMENT ON COLUMN {column.table}.{column.quoted} IS {text}",
            locks={column.table: Lock.SHARE_UPDATE_EXCLUSIVE},
        )

    return replace(comment(new), undo=(comment(old),))


# Indexes of db_index=True and the ones for LIKE; their names tell them apart.


def _references(column: Column) -> dict[str, Any]:
    found = field_indexes_sql(column.editor, column.model, column.field)
    return {name_in(reference).raw: reference for reference in found}


def _index(column: Column, name: str) -> BuildIndex:
    step = build_index(f"{column.label}: index {name}", column.table, _references(column)[name])
    return replace(step, undo=(_drop_index(column, name),))


def _drop_index(column: Column, name: str) -> DropIndex:
    """Found by what it indexes: after a rename of the table or the column nobody can compute its name."""
    return DropIndex(
        why=f"{column.label}: drop index {name}",
        table=column.table,
        name=name,
        query=index_of_field(column.table, column.name, name=name),
        frees=(claims.index(column.table, name),),
    )


def _build_indexes(old: Column, new: Column) -> Plan:
    missing = [name for name in _references(new) if name not in _references(old)]
    return tuple(_index(new, name) for name in missing)


def _drop_indexes(old: Column, new: Column) -> Plan:
    left = [name for name in _references(old) if name not in _references(new)]
    return tuple(replace(_drop_index(old, name), undo=(replace(_index(old, name), undo=()),)) for name in left)


# Constraints that go.


def _drop_by_query(column: Column, why: str, query: str, locks: dict[str, Lock], undo: Plan) -> Plan:
    return (
        Statement(
            why=f"{column.label}: {why}",
            sql=for_each(query, drop_found(column.table)),
            locks=locks,
            done=no_row(query),
            undo=undo,
            works_on=(column.claim,),
        ),
    )


def _drop_unique(column: Column) -> Plan:
    query = _constraints(column, "u", "key", "_uniq")
    locks: dict[str, Lock] = {column.table: Lock.ACCESS_EXCLUSIVE}
    return _drop_by_query(column, f"{column.name} is not unique any more", query, locks, column.unique_by_name())


def _drop_check(column: Column) -> Plan:
    query = _constraints(column, "c", "check", "_check")
    locks: dict[str, Lock] = {column.table: Lock.ACCESS_EXCLUSIVE}
    return _drop_by_query(column, f"drop the check of {column.name}", query, locks, column.check_by_name())


def _constraints(column: Column, kind: str, label: str, suffix: str) -> str:
    """Finds a constraint by its name: the one that it got with the column, or the one that it gets later."""
    names = (object_name(column.label, column.name, label), column.index_name(suffix).raw)
    return constraints_of_field(column.table, [column.name], kind, names=names)


def _let_go(column: Column) -> Plan:
    """The old foreign key would refuse what the new release writes."""
    query = foreign_keys(column.table, column.name)
    locks: dict[str, Lock] = {column.parent: Lock.ACCESS_EXCLUSIVE, column.table: Lock.ACCESS_EXCLUSIVE}
    return _drop_by_query(column, f"drop the foreign key of {column.name}", query, locks, ForeignKey(column).add())


def _exchange(old: Column, new: Column) -> Plan:
    (exchange, *rest), back = exchanged(ForeignKey(new)), exchanged(ForeignKey(old))
    return (replace(exchange, undo=back), *rest)


def find(asked: Part | AlterField, context: Context) -> Finding | None:
    if isinstance(asked, Part):
        return _of_part(asked, context)
    return _of_generated(asked, context) or alter_many_to_many.find(asked, context)


def _of_generated(operation: AlterField, context: Context) -> Finding | None:
    """PostgreSQL computes a generated column after every trigger, so no twin can be kept equal to it."""
    old: Any = context.model_before(operation.model_name).fields.get(operation.name)
    if old is None or not (old.generated and operation.field.generated):
        return None
    columns = [bound(field, operation.name).column for field in (old, operation.field)]
    if columns[0] == columns[1]:
        return None
    return Finding(
        f"AlterField {operation.name} of {operation.model_name} renames its column at once ({columns[0]} becomes "
        f"{columns[1]}): the old release names it in every query.",
        way_by_hand=f'Keep db_column="{columns[0]}": PostgreSQL computes it after every trigger, so it has no twin.',
    )


def _of_part(part: Part, context: Context) -> Finding | None:
    operation, change = part.operation, part.change
    is_of_another_rule = not change.rewrites and (change.tightens_null or change.drops_default)
    if not is_of_another_rule and points_at_other_rows(part.whole, context):
        return foreign_key_to_another_model.finding(part.whole, context)
    if change.rewrites or change.tightens_null or change.drops_default or not (harm := _harm(change)):
        return None
    safe = AlterFieldConcurrently(operation.model_name, operation.name, operation.field, operation.preserve_default)
    what = f"AlterField {operation.name} of {operation.model_name}"
    return Finding(f"{what} {harm}.", (safe,), notice=_notice(operation, change), level=LEVEL_OF.get(harm, "error"))


LOSES_UNIQUE = "drops its unique index at once: queries and upserts of the old release may want it"
LOSES_FOREIGN_KEY = "drops a constraint behind a lock for which everybody queues"
LEVEL_OF: dict[str, Level] = {LOSES_UNIQUE: "warning", LOSES_FOREIGN_KEY: "note"}


def _harm(change: Alteration) -> str:
    if change.adds_unique or change.adds_index or change.changes_like_index:
        return "builds its index while nobody can write to the table"
    if change.adds_foreign_key or change.retargets:
        return "checks every row while nobody can write to the table, and refuses what the old release deletes"
    if change.adds_check:
        return "checks every row while nobody can use the table, and refuses what the old release writes"
    if change.removes_index:
        return "drops the index that queries of the old release want at once"
    if change.removes_unique:
        return LOSES_UNIQUE
    if change.changes_on_delete or change.checks_foreign_key_again:
        return "drops its foreign key and checks every row anew while nobody can write to the table"
    return LOSES_FOREIGN_KEY if change.removes_foreign_key else ""


def _notice(operation: AlterField, change: Alteration) -> str:
    name = f"{operation.model_name}.{operation.name}"
    if change.adds_unique:
        return f"{name} becomes unique with migrate: from then on the old release can't write duplicates either."
    if change.removes_unique:
        return f"{name} stays unique until the contract, because upserts of the old release need it."
    return ""


rule = Rule("safemigrations.E041", (AlterField, Part), find)
