"""A rolling deploy under traffic."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from threading import Timer

import psycopg

from safemigrations.rehearsing.processes import Processes
from testproject.demo.project import Project
from testproject.demo.sides import Side
from testproject.demo.traffic import Answer, Traffic

ATTEMPTS = 5  # at one command, before the deploy is given up
REPORT = "SELECT status, count(*), sum(subtotal) FROM shop_order GROUP BY status"

Tell = Callable[[float, str], None]  # is given the time and what happens


@dataclass(frozen=True)
class Load:
    rate: float  # requests a second, in total
    workers: int  # processes that share them
    threads: int  # of each process


@dataclass(frozen=True)
class Pace:
    quiet: float  # seconds in which nothing is deployed: before, between two steps of the rollout, after
    report: float  # seconds for which the unrelated transaction stays open


@dataclass(frozen=True)
class Phase:
    name: str
    start: float
    end: float


@dataclass
class Course:
    """What happened on one side. Times are seconds since its traffic began."""

    side: str
    started: float = field(default_factory=time.monotonic)
    phases: list[Phase] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    releases: int = 1
    by_hand: int = 0  # lines of migrations

    @property
    def end(self) -> float:
        return max(answer.finished for answer in self.answers)

    def hear(self, *ending: Traffic) -> None:
        """What these have answered, in the order of arrival; they end."""
        answers = [answer for traffic in ending for answer in traffic.stop(since=self.started)]
        self.answers = sorted([*self.answers, *answers], key=lambda answer: answer.arrived)

    def now(self) -> float:
        return time.monotonic() - self.started

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = self.now()
        try:
            yield
        except subprocess.CalledProcessError:
            name = f"{name} failed"
            raise
        finally:
            self.phases.append(Phase(name, start, self.now()))


@dataclass(frozen=True)
class Deploy:
    old: Project
    new: Project
    load: Load
    pace: Pace
    tell: Tell

    def run(self, side: Side) -> Course:
        with ExitStack() as stack:
            old, new = self.old.processes("old", stack), self.new.processes("new", stack)
            leaving = [self._start(old) for _ in range(self.load.workers)]
            course = Course(side.title, releases=side.releases)
            self._rest(course, f"{self.load.rate:g} requests a second arrive at the old release")
            with self._report(course) if self.pace.report else nullcontext():
                self._manage(course, "migrate", *side.first)
            with course.phase("both releases"):
                coming = self._roll_over(course, new, leaving)
            self._rest(course, "the old release has gone")
            if side.last:
                phase = "contract" if "--contract" in side.last else "second release"
                self._manage(course, phase, *side.last)
                self._rest(course, "all is done")
            course.hear(*coming)
        return course

    @contextmanager
    def _report(self, course: Course) -> Iterator[None]:
        """Hold the lock that any SELECT takes, as a report does that computes between two queries."""
        conninfo, name, seconds = self.new.conninfo, self.new.database, self.pace.report
        connection = psycopg.connect(conninfo, dbname=name, application_name="nightly report")
        start = course.now()
        self.tell(start, f"an unrelated report reads the orders, its transaction stays open for {seconds:g} s")
        connection.execute(REPORT)

        def end() -> None:
            connection.close()
            course.phases.append(Phase("report", start, course.now()))

        timer = Timer(seconds, end)
        timer.start()
        try:
            yield
        except BaseException:
            timer.cancel()
            connection.close()
            raise
        timer.join()

    def _roll_over(self, course: Course, new: Processes, leaving: list[Traffic]) -> list[Traffic]:
        coming: list[Traffic] = []
        for old in leaving:
            if coming:
                self._rest(course, f"both releases run: {len(coming)} of {len(leaving)} processes are new")
            coming.append(self._start(new))
            course.hear(old)
        return coming

    def _start(self, processes: Processes) -> Traffic:
        rate = self.load.rate / self.load.workers
        return Traffic(processes, self.new.database, rate=rate, threads=self.load.threads)

    def _manage(self, course: Course, phase: str, *arguments: str) -> None:
        """Run the command as a person would: again, when it fails."""
        for attempt in range(1, ATTEMPTS + 1):
            self.tell(course.now(), f"$ python manage.py {' '.join(arguments)}")
            try:
                with course.phase(phase):
                    for line in self.new.manage(*arguments):
                        self.tell(course.now(), f"  {line}")
            except subprocess.CalledProcessError:
                if attempt == ATTEMPTS:
                    raise
            else:
                return

    def _rest(self, course: Course, why: str) -> None:
        self.tell(course.now(), why)
        time.sleep(self.pace.quiet)
