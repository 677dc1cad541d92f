"""The view for a readiness probe."""

from __future__ import annotations

from collections.abc import Collection

from django.contrib.auth.decorators import login_not_required
from django.db import connections, transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from safemigrations.contracts.readiness import readiness


@login_not_required
@require_safe
def ready(request: HttpRequest, databases: Collection[str] = ()) -> JsonResponse:
    """200 when this release can serve requests, else 503 and why; for the databases that the URL names, or for all."""
    answers = readiness(databases)
    is_ready = all(answer.is_ready for answer in answers)
    body = {"ready": is_ready, "databases": {answer.database: answer.as_dict() for answer in answers}}
    return JsonResponse(body, status=200 if is_ready else 503, headers={"Cache-Control": "no-store"})


# ATOMIC_REQUESTS would connect before the view is called, and answer for a database that is down with 500.
for alias in connections:
    transaction.non_atomic_requests(using=alias)(ready)
