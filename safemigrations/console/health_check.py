"""The readiness of a release as a check of django-health-check 4: "safemigrations.console.health_check.Ready"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from health_check.base import HealthCheck
from health_check.exceptions import ServiceUnavailable

from safemigrations.contracts.readiness import readiness


@dataclass
class Ready(HealthCheck):  # type: ignore[misc]  # Any where the package isn't typed
    """Is everything applied that this release needs, and nothing contracted that it still needs?"""

    databases: Sequence[str] = field(default=(), repr=False)

    def run(self) -> None:
        missing = [str(answer) for answer in readiness(self.databases) if not answer.is_ready]
        if missing:
            raise ServiceUnavailable("; ".join(missing))
