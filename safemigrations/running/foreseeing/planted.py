"""Finds functions that others have created under names of ours.

CREATE OR REPLACE leaves a function to its owner, who may change what it does afterwards: with the rights of whoever
writes to the table.
https://www.postgresql.org/docs/current/sql-createfunction.html
"""

from __future__ import annotations

import re

from ...errors import StepFailed
from ...plans.steps import Database, Step, tables_of
from ...postgres.names import Name
from ...postgres.privileges import functions_of_others

MADE = r'CREATE OR REPLACE FUNCTION ("(?:[^"]|"")+")\('


def refuse_planted(database: Database, step: Step) -> None:
    """Raise StepFailed where a function that the step makes belongs to nobody whom the session has to trust anyway."""
    names = [Name(made[1]).raw for sql in step.statements if (made := re.match(MADE, sql))]
    found = database.rows(functions_of_others(names, ["django_migrations", *tables_of(step)])) if names else []
    if found:
        owned = ", ".join(f"{function} belongs to the role {owner}" for function, owner in found)
        drop = " ".join(f"DROP FUNCTION {function};" for function, _ in found)
        raise StepFailed(
            f"{owned}, which could let it do anything with the rights of whoever writes to the table. Nothing was "
            f"changed. Take from the role the right to CREATE in the schema, and type: {drop} Then run the same "
            "command again."
        )
