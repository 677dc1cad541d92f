"""Is the client of Prometheus installed? It writes the metrics."""

from __future__ import annotations

from importlib.util import find_spec

NO_CLIENT = "Metrics need: pip install 'safemigrations[prometheus]'"
HAS_CLIENT = find_spec("prometheus_client") is not None
