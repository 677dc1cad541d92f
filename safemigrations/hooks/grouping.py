"""GROUP BY that also works while a table is a view.

Django groups by the primary key alone on PostgreSQL, which knows that the other columns depend on it: of a table, but
not of a view. So a release that annotates a model whose table another release has renamed would fail. It was started
before the view was there, so it always lists all columns. PostgreSQL's planner drops those that depend on a unique key
(remove_useless_groupby_columns()) when it has looked through the view, so the rows are grouped by one column all the
same.
"""

from __future__ import annotations

from typing import Any

from django.db.backends.base.features import BaseDatabaseFeatures

from ..running.comparable import is_comparable
from ..typed import set_on


def _lists_all_columns(features: Any, model: Any) -> bool:
    connection = features.connection
    if connection.vendor != "postgresql" or not model._meta.managed:
        return False
    types = [field.db_type(connection) for field in model._meta.concrete_fields]
    return all(is_comparable(connection, type_) for type_ in types if type_)


def install() -> None:
    stock = BaseDatabaseFeatures.allows_group_by_selected_pks_on_model
    if hasattr(stock, "lists_all_columns"):
        return

    def allows_group_by_selected_pks_on_model(self: Any, model: Any) -> bool:
        return bool(stock(self, model)) and not _lists_all_columns(self, model)

    set_on(allows_group_by_selected_pks_on_model, lists_all_columns=True)
    set_on(BaseDatabaseFeatures, allows_group_by_selected_pks_on_model=allows_group_by_selected_pks_on_model)
