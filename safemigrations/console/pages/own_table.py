"""A table of ours in Django's admin: read only, but for the acts that a page has. No page ever sends DDL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.core.management.base import CommandError
from django.db import DatabaseError, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import path, reverse
from django.urls.resolvers import URLPattern
from django.utils.html import format_html
from django.views.decorators.http import require_POST

from ...errors import StepFailed
from ..models import rows_of
from .act import Act

PARAMETER = "database"
EVERY = 2000  # milliseconds between two looks of a page at which something moves


def aliases() -> list[str]:
    """The databases that have tables of ours, the default one first."""
    return [alias for alias in connections if connections[alias].vendor == "postgresql"]


def chosen(request: HttpRequest) -> str:
    """The database that the URL names. A list has it in its own query, a row's page in the filters of its list."""
    kept = QueryDict(request.GET.get("_changelist_filters", ""))
    wanted = request.GET.get(PARAMETER) or kept.get(PARAMETER)
    known = aliases()
    if wanted and wanted not in known:
        raise Http404(f"There is no PostgreSQL database {wanted}.")
    return wanted or (known[0] if known else "")


class DatabaseFilter(admin.SimpleListFilter):
    """Selects the database that the page shows; one is always selected."""

    title = PARAMETER
    parameter_name = PARAMETER

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        known = aliases()
        return [(alias, alias) for alias in known] if len(known) > 1 else []

    def choices(self, changelist: ChangeList) -> Any:
        for index, (alias, title) in enumerate(self.lookup_choices):
            is_first = self.value() is None and index == 0
            link = changelist.get_query_string({PARAMETER: alias})
            yield {"selected": is_first or self.value() == alias, "query_string": link, "display": title}

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        return queryset  # OwnTable.get_queryset has chosen the database already


class ExplainedList(ChangeList):
    """A change list whose rows get the facts that their columns don't hold."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        page: Any = self.model_admin
        if self.result_list:
            page.explain(connections[chosen(request)], self.result_list)


class OwnTable(admin.ModelAdmin):  # type: ignore[type-arg]  # it takes no argument when it runs
    actions = None
    list_per_page = 50
    list_filter: ClassVar[Any] = (DatabaseFilter,)
    acts: ClassVar[Sequence[Act]] = ()
    title = ""

    class Media:
        css = {"all": ["safemigrations/console.css"]}
        js = ["safemigrations/live.js"]

    # What a page has of its own.

    def explain(self, connection: BaseDatabaseWrapper, rows: Sequence[Any]) -> None:
        """Set attributes on rows that the columns of the page read."""

    def title_of(self, row: Any) -> str:
        return str(getattr(row, "label", "") or row)

    def headline(self, connection: BaseDatabaseWrapper) -> str:
        return ""

    def command(self, alias: str) -> str:
        """The command for a terminal that does what the page is about."""
        return ""

    def command_for(self, act: Act, row: Any) -> str:
        """The command that somebody with more rights can type instead."""
        raise NotImplementedError

    def is_moving(self, rows: Sequence[Any]) -> bool:
        """Does the page reload its rows by itself?"""
        return False

    def details(self, connection: BaseDatabaseWrapper, row: Any) -> dict[str, Any]:
        """What stands below the fields of a row."""
        return {}

    # What Django asks.

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        alias = chosen(request)
        return rows_of(self.model, connections[alias]) if alias else self.model._default_manager.none()

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            self.explain(connections[row._state.db], [row])
        return row

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ExplainedList

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            context = self._context(chosen(request))
            return super().changelist_view(request, {**context, **(extra_context or {})})
        except (StepFailed, DatabaseError) as error:
            return self._unreadable(request, error)

    def _context(self, alias: str) -> dict[str, Any]:
        said = self.headline(connections[alias]) if alias else "None of the databases is PostgreSQL."
        return {"title": self.title, "headline": said, "command": self.command(alias), "every": EVERY}

    def _unreadable(self, request: HttpRequest, error: Exception) -> HttpResponse:
        """The index with what is the matter: a newer version has written a row, or this role may not read it."""
        messages.error(request, f"{self.title} can't be shown: {str(error).strip().partition(chr(10))[0]}")
        return HttpResponseRedirect(reverse("admin:index", current_app=self.admin_site.name))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            return self._row_view(request, object_id, form_url, extra_context or {})
        except (StepFailed, DatabaseError) as error:
            return self._unreadable(request, error)

    def _row_view(self, request: HttpRequest, object_id: str, form_url: str, extra: dict[str, Any]) -> HttpResponse:
        row = self.get_object(request, object_id)
        context: dict[str, Any] = {"title": self.title_of(row) if row else "", "subtitle": None, "every": EVERY}
        if row is not None:
            context |= {"acts": self._possible(request, row), "moving": self.is_moving([row])}
            context |= self.details(connections[row._state.db], row)
        return super().change_view(request, object_id, form_url, {**context, **extra})

    def get_urls(self) -> list[URLPattern]:
        info = self.opts.app_label, self.opts.model_name
        view = self.admin_site.admin_view(require_POST(self.act_view))
        act = path("<int:number>/act/<str:name>/", view, name="{}_{}_act".format(*info))
        return [act, *super().get_urls()]

    # Acts.

    def may(self, request: HttpRequest, act: Act) -> bool:
        return request.user.has_perm(f"{self.opts.app_label}.{act.name}_{self.opts.model_name}")

    def _possible(self, request: HttpRequest, row: Any) -> list[tuple[Act, forms.Form, str]]:
        """The acts that this user may do to this row now, each with its form and the URL that receives it."""
        url = f"admin:{self.opts.app_label}_{self.opts.model_name}_act"
        filters = request.GET.urlencode()
        return [
            (
                act,
                act.form(auto_id=f"id_{act.name}_%s"),
                f"{reverse(url, args=[row.pk, act.name], current_app=self.admin_site.name)}?{filters}",
            )
            for act in self.acts
            if row.status in act.possible_in and self.may(request, act)
        ]

    def act_view(self, request: HttpRequest, number: int, name: str) -> HttpResponse:
        act = next((one for one in self.acts if one.name == name), None)
        if act is None:
            raise Http404
        if not (self.has_view_permission(request) and self.may(request, act)):
            raise PermissionDenied
        row = self.get_object(request, str(number))
        if row is None:
            raise Http404
        self._act(request, act, row)
        page = reverse(
            f"admin:{self.opts.app_label}_{self.opts.model_name}_change",
            args=[number],
            current_app=self.admin_site.name,
        )
        return HttpResponseRedirect(f"{page}?{request.GET.urlencode()}" if request.GET else page)

    def _act(self, request: HttpRequest, act: Act, row: Any) -> None:
        form = act.form(request.POST)
        if row.status not in act.possible_in:  # it may have gone on since the page was shown
            messages.error(request, f"Nothing was changed: {row} is {row.status}.")
            return
        if not form.is_valid():
            wrong = "; ".join(f"{name}: {' '.join(map(str, errors))}" for name, errors in form.errors.items())
            messages.error(request, f"Nothing was changed. {wrong}")
            return
        connection = connections[row._state.db]
        try:
            act.do(connection, row.pk, form.cleaned_data, request.user.get_username())
        except (CommandError, StepFailed) as error:
            messages.error(request, str(error))
        except DatabaseError as error:
            said, command = str(error).strip(), self.command_for(act, row)
            messages.error(
                request,
                format_html("Nothing was changed: {} An administrator can type: <code>{}</code>", said, command),
            )
        else:
            self.log_change(request, row, f"{act.done}. {form.cleaned_data.get('reason', '')}".strip())
            messages.success(request, f"{act.done}: {row}")
