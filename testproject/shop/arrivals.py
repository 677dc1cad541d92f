"""Requests that arrive at one process of a release, as a rehearsal's client: see testproject/demo/traffic.py."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from django.db import close_old_connections, connection

from testproject.shop.requests import MIX, Visitor

Row = tuple[str, float, float, str]  # name of the request, when it arrived, seconds until its answer, error


class Arrivals:
    """They arrive at a steady rate, whether the earlier ones have been answered or not, and wait in a queue while all
    threads are busy.
    """

    def __init__(self, over: Callable[[], bool], rate: float, threads: int) -> None:
        self.over, self.rate = over, rate
        self.visitor, self.rows = Visitor.arrive(), list[Row]()
        self.pool = ThreadPoolExecutor(threads, initializer=connection.ensure_connection)
        list(self.pool.map(lambda _: None, range(threads)))  # all of them are connected before the first one arrives

    def go_on(self) -> list[Row]:
        """Until the next message arrives; every answer, when those that have arrived are answered."""
        for arrived in self._arrivals():
            self.pool.submit(self._answer, arrived)
        self.pool.shutdown()
        return self.rows

    def _arrivals(self) -> Iterator[float]:
        """Yield each arrival at its time; late ones keep theirs, so that no stall is left out."""
        arrived = time.monotonic()
        while not self.over():
            time.sleep(max(0, arrived - time.monotonic()))
            yield arrived
            arrived += 1 / self.rate

    def _answer(self, arrived: float) -> None:
        name, error = _run_one(self.visitor)
        self.rows.append((name, arrived, time.monotonic() - arrived, error))


def _run_one(visitor: Visitor) -> tuple[str, str]:
    """Return the name of the request and its error, empty where it succeeded."""
    (request,) = random.choices(list(MIX), weights=list(MIX.values()))
    close_old_connections()  # what Django does at the start of each request
    try:
        request(visitor)
    except Exception as error:
        return request.__name__, f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return request.__name__, ""
