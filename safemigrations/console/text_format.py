"""The text that Prometheus scrapes and that a Pushgateway takes.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metric:
    """A gauge or a counter with its samples, each with a value for each label."""

    def __init__(self, kind: str, name: str, help: str, labels: Sequence[str]) -> None:
        self.kind, self.name, self.help, self.labels = kind, name, help, labels
        self.samples: list[tuple[Sequence[str], float]] = []

    def add(self, values: Sequence[str], number: float) -> None:
        self.samples.append((values, float(number)))

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {_escaped(self.help)}"
        yield f"# TYPE {self.name} {self.kind}"
        for values, number in self.samples:
            labels = (f"{label}={_quoted(value)}" for label, value in sorted(zip(self.labels, values, strict=True)))
            yield f"{self.name}{{{','.join(labels)}}} {number}"


def text(metrics: Iterable[Metric]) -> bytes:
    return "".join(f"{line}\n" for metric in metrics for line in metric.lines()).encode()


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(value: str) -> str:
    return '"' + _escaped(value).replace('"', r"\"") + '"'
