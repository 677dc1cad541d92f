"""Statements, kind by kind: what each does to which table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from pglast import ast

from ..scene import FEW, Scene
from . import alter_table
from .alter_table import Effect, functions_in, is_the_first, parts, restarts
from .parse import Statement, raises

# Nobody waits for these, and no release notices them.
HARMLESS = {
    "AlterDatabaseSetStmt",
    "AlterDefaultPrivilegesStmt",
    "AlterExtensionStmt",
    "AlterFunctionStmt",
    "AlterRoleSetStmt",
    "AlterRoleStmt",
    "AlterOwnerStmt",
    "AlterStatsStmt",
    "AlterTSConfigurationStmt",
    "AlterTSDictionaryStmt",
    "CheckPointStmt",
    "CommentStmt",
    "CompositeTypeStmt",
    "ConstraintsSetStmt",
    "CreateCastStmt",
    "CreateDomainStmt",
    "CreateEventTrigStmt",
    "CreateExtensionStmt",
    "CreateFunctionStmt",
    "CreatePublicationStmt",
    "CreateRangeStmt",
    "CreateRoleStmt",
    "CreateSchemaStmt",
    "CreateSeqStmt",
    "CreateStatsStmt",
    "DefineStmt",
    "DiscardStmt",
    "DoStmt",
    "GrantRoleStmt",
    "NotifyStmt",
    "TransactionStmt",
    "VariableSetStmt",
    "VariableShowStmt",
    "ViewStmt",
}


def effects(statement: Statement, scene: Scene) -> list[Effect] | None:
    """None where the statement isn't understood."""
    if statement.kind in HARMLESS:
        return []
    found = _of_node(statement.node, scene)
    if found and statement.again and isinstance(statement.node, ast.UpdateStmt | ast.DeleteStmt):
        return [replace(each, kind="some rows") if each.kind == "rows" else each for each in found]
    return found


def _of_node(node: Any, scene: Scene) -> list[Effect] | None:
    handler = OWN.get(type(node).__name__)
    found = handler(node, scene) if handler else None
    within = [_of_node(each.ctequery, scene) for each in getattr(getattr(node, "withClause", None), "ctes", None) or ()]
    if found is None or None in within:
        return None
    return [*found, *(effect for effects in within if effects for effect in effects)]


def _create_table(node: Any, scene: Scene) -> Iterator[Effect]:
    if not node.if_not_exists or scene.table(node.relation.relname) is None:
        scene.made.add(node.relation.relname)
    for target in _pointed_at(node):
        yield Effect("brief for writers", target)
    if node.partbound is not None:
        for parent in node.inhRelations or ():
            yield Effect("brief", parent.relname)


def _pointed_at(tree: Any) -> Iterator[str]:
    if isinstance(tree, ast.Constraint) and tree.pktable is not None:
        yield tree.pktable.relname
    for part in parts(tree):
        yield from _pointed_at(part)


def _create_table_as(node: Any, scene: Scene) -> Iterator[Effect]:
    scene.made.add(node.into.rel.relname)
    yield Effect("copied rows", "what it reads")


def _index(node: Any, scene: Scene) -> Iterator[Effect]:
    table = node.relation.relname
    if not node.relation.inh:  # ON ONLY a partitioned table, whose partitions get theirs later
        yield Effect("brief for writers", table)
    elif not node.concurrent:
        yield Effect("CREATE INDEX", table, node.idxname or "")
    elif node.if_not_exists:
        yield Effect("IF NOT EXISTS", table, node.idxname or "")
    else:
        yield Effect("online", table, node.idxname or "")


def _drop(node: Any, scene: Scene) -> Iterator[Effect]:
    kind = node.removeType.name
    names = [each[-1].sval if isinstance(each, tuple) else "" for each in node.objects]
    if kind == "OBJECT_INDEX" and not node.concurrent:
        yield from (Effect("DROP INDEX", name) for name in names)
    elif kind in ("OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW"):
        gone = {name for name in names if scene.is_used(name)} - scene.remade
        yield from (Effect("DROP" if name in gone else "brief", name) for name in names)
    elif kind in ("OBJECT_TRIGGER", "OBJECT_RULE", "OBJECT_POLICY"):
        yield from (Effect("brief", each[-2].sval) for each in node.objects)
    if node.behavior.name == "DROP_CASCADE" and kind not in ("OBJECT_INDEX", "OBJECT_TRIGGER", "OBJECT_POLICY"):
        yield from (Effect("DROP CASCADE", name) for name in names if not scene.is_new(name))


def _rename(node: Any, scene: Scene) -> Iterator[Effect]:
    kind, table = node.renameType.name, getattr(node.relation, "relname", "")
    if kind == "OBJECT_COLUMN":
        yield Effect("RENAME" if scene.is_used(table, node.subname) else "brief", table, node.subname)
    elif kind in ("OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW"):
        yield Effect("RENAME" if scene.is_used(table) else "brief", table)
    elif kind in ("OBJECT_TABCONSTRAINT", "OBJECT_TRIGGER"):
        yield Effect("brief", table)


def _set_schema(node: Any, scene: Scene) -> Iterator[Effect]:
    table = getattr(node.relation, "relname", "")
    if node.objectType.name == "OBJECT_TABLE":
        yield Effect("RENAME" if scene.is_used(table) else "brief", table)


def _enum(node: Any, scene: Scene) -> Iterator[Effect]:
    name = node.typeName[-1].sval
    if node.oldVal:
        yield Effect("RENAME", name, node.oldVal)
    elif name not in scene.types:
        scene.values[node.newVal] = name


def _new_enum(node: Any, scene: Scene) -> Iterator[Effect]:
    scene.types.add(node.typeName[-1].sval)
    yield from ()


def _grant(node: Any, scene: Scene) -> Iterator[Effect]:
    """The effects of GRANT and of REVOKE."""
    if node.is_grant or node.objtype.name != "OBJECT_TABLE":
        return
    if node.targtype.name == "ACL_TARGET_ALL_IN_SCHEMA":
        yield Effect("REVOKE", "every table")
    tables = (each.relname for each in node.objects or () if isinstance(each, ast.RangeVar))
    yield from (Effect("REVOKE", table) for table in tables if scene.is_used(table))


def _domain(node: Any, scene: Scene) -> Iterator[Effect]:
    constraint = node.def_
    adds = node.subtype == "C" and not (constraint is not None and constraint.skip_validation)
    if adds or node.subtype == "O":
        yield Effect("ALTER DOMAIN", node.typeName[-1].sval)


def _truncate(node: Any, scene: Scene) -> Iterator[Effect]:
    for relation in node.relations:
        yield Effect("TRUNCATE" if scene.is_used(relation.relname) else "brief", relation.relname)


LEAST_THAT_STOPS_WRITERS = 5  # SHARE, as PostgreSQL numbers the modes


def _lock(node: Any, scene: Scene) -> Iterator[Effect]:
    for relation in node.relations:
        if node.mode >= LEAST_THAT_STOPS_WRITERS:
            yield Effect("LOCK", relation.relname)


def _reindex(node: Any, scene: Scene) -> Iterator[Effect]:
    relation = node.relation.relname if node.relation is not None else node.name or ""
    concurrently = any(option.defname == "concurrently" for option in node.params or ())
    yield Effect("online" if concurrently else "REINDEX", relation)


def _vacuum(node: Any, scene: Scene) -> Iterator[Effect]:
    full = any(option.defname == "full" for option in node.options or ())
    tables = [relation.relation.relname for relation in node.rels or ()]
    for table in tables or ([""] if full else []):
        yield Effect("rewrite" if full else "online", table)


def _cluster(node: Any, scene: Scene) -> Iterator[Effect]:
    yield Effect("rewrite", node.relation.relname if node.relation is not None else "every clustered table")


def _refresh(node: Any, scene: Scene) -> Iterator[Effect]:
    quick = node.concurrent or node.skipData
    yield Effect("online" if quick else "REFRESH", node.relation.relname)


def _trigger(node: Any, scene: Scene) -> Iterator[Effect]:
    function = scene.functions.get(node.funcname[-1].sval)
    may_refuse = function is not None and raises(function) and scene.is_used(node.relation.relname)
    yield Effect("trigger that raises" if may_refuse else "brief for writers", node.relation.relname)


def _policy(node: Any, scene: Scene) -> Iterator[Effect]:
    yield Effect("brief", node.table.relname)


def _rule(node: Any, scene: Scene) -> Iterator[Effect]:
    table = node.relation.relname
    replaces = node.instead and node.event.name != "CMD_SELECT" and scene.is_used(table)
    yield Effect("RULE" if replaces else "brief", table)


# Rows.

KNOWN_FUNCTIONS = {
    "setval",
    "nextval",
    "currval",
    "set_config",
    "pg_advisory_lock",
    "pg_advisory_unlock",
    "pg_advisory_xact_lock",
    "pg_get_serial_sequence",
    "coalesce",
    "max",
    "min",
    "count",
    "greatest",
    "now",
    "version",
    "to_regclass",
    "current_setting",
    "exists",
}


def _select(node: Any, scene: Scene) -> Iterator[Effect] | None:
    if node.lockingClause:
        kind = "some rows" if node.limitCount is None else "rows"
        return iter([Effect(kind, each.relname) for each in node.fromClause or () if isinstance(each, ast.RangeVar)])
    if any(name not in KNOWN_FUNCTIONS for name in functions_in(node)) and not node.fromClause:
        return None  # a function of somebody's: it may do anything
    return _setval(node)


def _setval(tree: Any) -> Iterator[Effect]:
    """setval(..., 1)"""
    if isinstance(tree, ast.FuncCall) and tree.funcname[-1].sval == "setval" and is_the_first(tree.args[1]):
        yield Effect("RESTART", next(_texts(tree.args[0]), "the table"))
    for part in parts(tree):
        yield from _setval(part)


def _texts(tree: Any) -> Iterator[str]:
    if isinstance(tree, ast.String):
        yield tree.sval
    for part in (getattr(tree, "val", None), *parts(tree)):
        if part is not None:
            yield from _texts(part)


def _sequence(node: Any, scene: Scene) -> Iterator[Effect]:
    name = node.sequence.relname
    is_own = any(option.defname == "owned_by" for option in node.options or ())
    if restarts(node.options) and not scene.is_new(name) and not is_own:
        yield Effect("RESTART", name)


def _change(node: Any, scene: Scene) -> Iterator[Effect]:
    table = node.relation.relname
    if node.whereClause is None:
        yield Effect("every row", table)
    elif table in FEW or _is_one_row(node, scene) or _is_a_batch(node.whereClause) or _joins_a_batch(node):
        yield Effect("rows", table)
    else:
        yield Effect("some rows", table)


def _is_one_row(node: Any, scene: Scene) -> bool:
    """Does the condition find one row, or as many rows as the statement lists?"""
    found = scene.table(node.relation.relname)
    columns = set(_compared(node.whereClause, _lists_of_values(node)))
    return found.is_unique(columns) if found else "id" in columns


def _lists_of_values(node: Any) -> set[str]:
    """The names that FROM or USING gives to lists, as in FROM (VALUES (1, 'a')) AS v (id, note)."""
    sources = getattr(node, "fromClause", None) or getattr(node, "usingClause", None) or ()
    lists = (each for each in sources if isinstance(each, ast.RangeSubselect) and each.alias is not None)
    return {each.alias.aliasname for each in lists if each.subquery.valuesLists}


EQUAL = ("AEXPR_OP", "AEXPR_OP_ANY", "AEXPR_IN")


def _compared(where: Any, lists: set[str]) -> Iterator[str]:
    """The columns that every row has to have certain values in."""
    if isinstance(where, ast.BoolExpr) and where.boolop.name == "AND_EXPR":
        for part in where.args:
            yield from _compared(part, lists)
    elif isinstance(where, ast.A_Expr) and where.kind.name in EQUAL and where.name[-1].sval == "=":
        for one, other in ((where.lexpr, where.rexpr), (where.rexpr, where.lexpr)):
            values = other if isinstance(other, tuple) else (other,)
            if isinstance(one, ast.ColumnRef) and all(_is_given(value, lists) for value in values):
                yield one.fields[-1].sval


def _is_given(value: Any, lists: set[str]) -> bool:
    """Does the statement itself hold the value?"""
    match value:
        case ast.TypeCast():
            return _is_given(value.arg, lists)
        case ast.A_ArrayExpr():
            return all(_is_given(each, lists) for each in value.elements or ())
        case ast.ColumnRef():
            return len(value.fields) > 1 and value.fields[0].sval in lists
    return isinstance(value, ast.A_Const | ast.ParamRef)


def _is_a_batch(where: Any) -> bool:
    """Is it limited, as in WHERE id IN (SELECT id ... LIMIT 1000), or WHERE id BETWEEN 1 AND 1000?"""
    if isinstance(where, ast.SelectStmt) and where.limitCount is not None:
        return True
    if isinstance(where, ast.A_Expr) and where.kind.name == "AEXPR_BETWEEN":
        return True
    return any(map(_is_a_batch, parts(where)))


def _joins_a_batch(node: Any) -> bool:
    """Does FROM or USING name rows that are limited, by a subquery or a WITH?"""
    sources = getattr(node, "fromClause", None) or getattr(node, "usingClause", None) or ()
    queries = {each.ctename: each.ctequery for each in getattr(node.withClause, "ctes", None) or ()}
    found = [
        each.subquery if isinstance(each, ast.RangeSubselect) else queries.get(getattr(each, "relname", ""))
        for each in sources
    ]
    return any(getattr(each, "limitCount", None) is not None for each in found)


def _insert(node: Any, scene: Scene) -> Iterator[Effect]:
    literal = node.selectStmt is None or node.selectStmt.valuesLists
    updates = node.onConflictClause is not None and node.onConflictClause.action.name == "ONCONFLICT_UPDATE"
    sources = [] if literal else list(_read_by(node.selectStmt))
    few = literal or (sources and all(map(scene.is_new, sources)))
    kind = "rows" if few else "some rows" if updates else "copied rows"
    yield Effect(kind, node.relation.relname)


def _read_by(tree: Any) -> Iterator[str]:
    if isinstance(tree, ast.RangeVar):
        yield tree.relname
    for part in parts(tree):
        yield from _read_by(part)


def _merge(node: Any, scene: Scene) -> Iterator[Effect]:
    yield Effect("some rows", node.relation.relname)


OWN: dict[str, Callable[[Any, Scene], Iterator[Effect] | None]] = {
    "AlterTableStmt": alter_table.effects,
    "AlterObjectSchemaStmt": _set_schema,
    "AlterSeqStmt": _sequence,
    "AlterEnumStmt": _enum,
    "AlterDomainStmt": _domain,
    "ClusterStmt": _cluster,
    "CreateEnumStmt": _new_enum,
    "CreatePolicyStmt": _policy,
    "AlterPolicyStmt": _policy,
    "CreateStmt": _create_table,
    "CreateTableAsStmt": _create_table_as,
    "CreateTrigStmt": _trigger,
    "DeleteStmt": _change,
    "DropStmt": _drop,
    "GrantStmt": _grant,
    "IndexStmt": _index,
    "InsertStmt": _insert,
    "LockStmt": _lock,
    "MergeStmt": _merge,
    "RefreshMatViewStmt": _refresh,
    "ReindexStmt": _reindex,
    "RenameStmt": _rename,
    "RuleStmt": _rule,
    "SelectStmt": _select,
    "TruncateStmt": _truncate,
    "UpdateStmt": _change,
    "VacuumStmt": _vacuum,
}
