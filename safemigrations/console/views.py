"""The views for a readiness probe and for Prometheus."""

from __future__ import annotations

from collections.abc import Collection

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import PermissionDenied
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_safe

from safemigrations import conf
from safemigrations.console.client import HAS_CLIENT, NO_CLIENT
from safemigrations.contracts.readiness import readiness

if HAS_CLIENT:
    from safemigrations.console.metrics import TYPE, scraped


@login_not_required
@require_safe
def ready(request: HttpRequest, databases: Collection[str] = ()) -> JsonResponse:
    """200 when this release can serve requests, else 503 and why; for the databases that the URL names, or for all."""
    answers = readiness(databases)
    is_ready = all(answer.is_ready for answer in answers)
    body = {"ready": is_ready, "databases": {answer.database: answer.as_dict() for answer in answers}}
    return JsonResponse(body, status=200 if is_ready else 503, headers={"Cache-Control": "no-store"})


@login_not_required
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """The metrics for Prometheus, with METRICS_TOKEN as its bearer token, and for staff who may see the queue."""
    if not (_has_token(request) or _may_see(request)):
        raise PermissionDenied
    if not HAS_CLIENT:
        return HttpResponse(NO_CLIENT, status=501, content_type="text/plain")
    return HttpResponse(scraped(), content_type=TYPE, headers={"Cache-Control": "no-store"})


def _has_token(request: HttpRequest) -> bool:
    token, given = conf.metrics_token(), request.headers.get("Authorization", "")
    return bool(token) and constant_time_compare(given, f"Bearer {token}")


def _may_see(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)
    return bool(user and user.is_active and user.is_staff and user.has_perm("safemigrations.view_contractrow"))


# ATOMIC_REQUESTS would connect before the view is called, and answer for a database that is down with 500.
for alias in connections:
    transaction.non_atomic_requests(using=alias)(ready)
    transaction.non_atomic_requests(using=alias)(metrics)
