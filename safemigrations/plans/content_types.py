"""The content type of a model that moves to another app, and its permissions, while two releases run.

The row that is there goes to the new release, because generic relations point at it. The old release gets a second row,
with the same permissions for the same groups and users: its has_perm() asks by the name of the old app. The contract
gives what the old release wrote beside the second row to the first one, and removes the second.

Whether there are such tables only the database knows. So each half is one block of PL/pgSQL, which can be run twice.
"""

from __future__ import annotations

from ..data import Data
from ..postgres.names import Name
from ..postgres.values import dollar_quoted, literal
from .steps import Statement


class Link(Data):
    """The many-to-many table that says who has which permission; names as Django has them."""

    table: str
    owner: str
    permission: str

    @property
    def copied(self) -> str:
        """PL/pgSQL that gives the permission `made` to everybody who has `found.id`."""
        table, owner, permission = map(Name.from_django, (self.table, self.owner, self.permission))
        return (
            f"INSERT INTO {table} ({owner}, {permission}) SELECT {owner}, made FROM {table} "
            f"WHERE {permission} = found.id ON CONFLICT DO NOTHING;"
        )

    @property
    def removed(self) -> str:
        """PL/pgSQL that takes the permission `found.id` from everybody."""
        table, permission = map(Name.from_django, (self.table, self.permission))
        return f"DELETE FROM {table} WHERE {permission} = found.id;"


class Moved(Data):
    """The content type of a model (in lower case) that moves from one app to another."""

    model: str
    old_app: str
    new_app: str
    links: tuple[Link, ...] = ()

    def expand(self) -> Statement:
        return Statement(
            why=f"{self.new_app}.{self.model}: it has the content type, and {self.old_app}.{self.model} one of its own",
            sql=self._block(
                "IF theirs IS NULL THEN RETURN; END IF;",
                f"IF ours IS NULL THEN {self._give(self.new_app)} ours := theirs;",
                f"INSERT INTO django_content_type (app_label, model) VALUES {self._key(self.old_app)}",
                "RETURNING id INTO theirs; source := ours; target := theirs;",
                "ELSE source := theirs; target := ours; END IF;",
                f"IF to_regclass('auth_permission') IS NOT NULL THEN {self._copy_permissions()} END IF;",
                declare="source bigint; target bigint; made bigint; found record;",
            ),
            locks={},
            undo=(self._back(),),
        )

    def contract(self) -> Statement:
        return Statement(
            why=f"{self.new_app}.{self.model}: it has what was written for {self.old_app}.{self.model}",
            sql=self._block(*self._merged(), declare=DECLARE),
            locks={},
        )

    def _back(self) -> Statement:
        return Statement(
            why=f"{self.old_app}.{self.model}: it has the content type again",
            sql=self._block(
                *self._merged(),
                f"IF NOT EXISTS (SELECT FROM django_content_type WHERE {self._is(self.old_app)}) THEN",
                f"UPDATE django_content_type SET app_label = {literal(self.old_app)} WHERE id = ours; END IF;",
                declare=DECLARE,
            ),
            locks={},
        )

    def _block(self, *body: str, declare: str) -> str:
        """A block of PL/pgSQL: `ours` is the content type of the new app, `theirs` that of the old app."""
        text = [
            f"DECLARE ours bigint; theirs bigint; {declare} BEGIN",
            "IF to_regclass('django_content_type') IS NULL THEN RETURN; END IF;",
            f"SELECT id INTO ours FROM django_content_type WHERE {self._is(self.new_app)};",
            f"SELECT id INTO theirs FROM django_content_type WHERE {self._is(self.old_app)};",
            *body,
            "END",
        ]
        return f"DO {dollar_quoted(' '.join(['', *text, '']))}"

    def _is(self, app_label: str) -> str:
        return f"(app_label, model) = {self._key(app_label)}"

    def _key(self, app_label: str) -> str:
        return f"({literal(app_label)}, {literal(self.model)})"

    def _give(self, app_label: str) -> str:
        return f"UPDATE django_content_type SET app_label = {literal(app_label)} WHERE id = theirs;"

    def _copy_permissions(self) -> str:
        """Copies the permissions from `source` to `target`, with those who have them."""
        return " ".join(
            [
                "FOR found IN SELECT * FROM auth_permission WHERE content_type_id = source LOOP",
                "INSERT INTO auth_permission (name, content_type_id, codename)",
                "VALUES (found.name, target, found.codename) ON CONFLICT DO NOTHING;",
                "SELECT id INTO made FROM auth_permission",
                "WHERE content_type_id = target AND codename = found.codename;",
                *(link.copied for link in self.links),
                "END LOOP;",
            ]
        )

    def _merged(self) -> list[str]:
        """All that points at `theirs` points at `ours`, which is there for good."""
        links = [f"to_regclass({literal(Name.from_django(link.table))})" for link in self.links]
        return [
            "IF ours IS NOT NULL AND theirs IS NOT NULL THEN",
            "IF to_regclass('auth_permission') IS NOT NULL THEN",
            "FOR found IN SELECT * FROM auth_permission WHERE content_type_id = theirs LOOP",
            "SELECT id INTO kept FROM auth_permission WHERE content_type_id = ours AND codename = found.codename;",
            "IF kept IS NULL THEN UPDATE auth_permission SET content_type_id = ours WHERE id = found.id; CONTINUE;",
            "END IF;",
            *(link.removed for link in self.links),
            _point("auth_permission", "found.id", "kept", but=links),
            "END LOOP; END IF;",
            _point("django_content_type", "theirs", "ours", but=["to_regclass('auth_permission')"]),
            "END IF;",
        ]


DECLARE = "kept bigint; found record; one record; part record; some_stay boolean;"


def _point(table: str, old: str, new: str, *, but: list[str]) -> str:
    """PL/pgSQL that lets foreign keys point at another row of a table, and removes the row that nothing needs then.

    A row that a unique constraint of its table forbids stays as it is, and so does what it points at.
    """
    left_out = f"coalesce(conrelid = ANY (ARRAY[{', '.join(but)}]::oid[]), false)"
    keys = (
        "SELECT conrelid::regclass::text AS name, attname AS key FROM pg_constraint "
        "JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1] "
        f"WHERE confrelid = to_regclass({literal(table)}) AND contype = 'f' AND conparentid = 0 AND NOT {left_out}"
    )
    rows = "SELECT tableoid::regclass::text AS name, ctid FROM %s WHERE %I = $1 FOR UPDATE"
    update = "UPDATE ONLY %s SET %I = $1 WHERE ctid = $2 AND %2$I = $3"
    return " ".join(
        [
            f"some_stay := false; FOR one IN {keys} LOOP",
            f"FOR part IN EXECUTE format({literal(rows)}, one.name, one.key) USING {old} LOOP",
            f"BEGIN EXECUTE format({literal(update)}, part.name, one.key) USING {new}, part.ctid, {old};",
            "EXCEPTION WHEN unique_violation THEN some_stay := true; END;",
            "END LOOP; END LOOP;",
            f"IF NOT some_stay THEN DELETE FROM {table} WHERE id = {old}; END IF;",
        ]
    )
