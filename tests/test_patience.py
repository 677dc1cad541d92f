"""How long a try waits, from nothing but who was seen in the way."""

from __future__ import annotations

from collections.abc import Iterable

from safemigrations.running.locking.blockers import Blocker
from safemigrations.running.locking.patience import GROWS_AFTER, Attempt, Patience

NOWAIT = Attempt(None)


def holder(transaction: str, age: float, backend: str = "client backend") -> Blocker:
    return Blocker(1, "web", backend, "active", age, "", transaction)


def patience_with(looks: Iterable[list[Blocker]], usual: float = 0.2, limit: float = 0.9) -> Patience:
    """What is known after these looks, in the first moments."""
    patience = Patience(usual, limit)
    for who in looks:
        patience.next(who, 0.1)
    return patience


def after(*looks: list[Blocker], waited: float = 1.0) -> Attempt:
    return patience_with(looks[:-1]).next(looks[-1], waited)


def test_nobody_stands_behind_a_holder_that_stays():
    report = patience_with([[holder("a", age / 10)] for age in range(9)])
    assert report.next([holder("a", 0.9)], 0.9) == NOWAIT
    assert report.next([holder("a", 60)], 60) == NOWAIT


def test_nobody_stands_behind_an_older_one_among_short_ones():
    looks = [[holder("report", age / 20), holder(str(age), 0.02)] for age in range(16)]
    assert after(*looks, [holder("report", 0.8), holder("z", 0.01)]) == NOWAIT
    assert after(*looks, [holder("late report", 0.3), holder("z", 0.01)]) == NOWAIT


def test_a_place_is_worth_it_where_holders_change():
    assert after([holder("a", 0.03)], [holder("b", 0.04)], [holder("c", 0.02)]) == Attempt(0.02)


def test_in_the_first_moments_nobody_stands_anywhere():
    assert after([holder("a", 0.03)], [holder("b", 0.04)], waited=0.2) == NOWAIT


def test_each_place_is_held_for_longer_than_the_last_up_to_the_usual_time():
    patience = patience_with([[holder("a", 0.03)]])
    tries = [patience.next([holder(f"b{number}", 0.03)], 1.0) for number in range(6)]
    assert [attempt.timeout for attempt in tries] == [0.02, 0.05, 0.1, 0.2, 0.2, 0.2]


def test_a_short_usual_time_is_never_exceeded():
    patience = patience_with([[holder("a", 0.03)]], usual=0.03, limit=0.03)
    tries = [patience.next([holder(f"b{number}", 0.03)], 60) for number in range(4)]
    assert [attempt.timeout for attempt in tries] == [0.02, 0.03, 0.03, 0.03]


def test_who_is_too_short_to_be_seen_is_worth_a_place():
    assert after([], []) == Attempt(0.02)


def test_holders_that_live_longer_than_any_try_may_last_are_not_queued_for():
    looks = [[holder(f"a{number}", 0.6), holder(f"b{number}", 0.7)] for number in range(5)]
    assert after(*looks, [holder("c", 0.1)]) == NOWAIT


def test_when_nothing_shorter_helps_patience_grows_with_what_holders_need():
    looks = [[holder(f"a{number}", 0.5), holder(f"b{number}", 0.6)] for number in range(5)]
    assert after(*looks, [holder("c", 0.1)], waited=GROWS_AFTER + 1).timeout == 0.75


def test_one_long_holder_among_short_ones_lets_no_try_grow():
    looks = [[holder(f"a{number}", 0.02), holder("report", 0.1 * number)] for number in range(9)]
    short = [[holder(f"b{number}", 0.02), holder(f"c{number}", 0.02)] for number in range(9)]
    assert after(*looks, *short, [holder("d", 0.01)], waited=60).timeout == 0.02


def test_where_tries_of_the_usual_length_keep_failing_they_grow_to_what_most_holders_need():
    patience = patience_with([[holder(f"{number}", 0.3 if number % 4 else 0.02)] for number in range(40)])
    tries = [patience.next([holder("z", 0.2)], 10) for _ in range(12)]
    assert [attempt.timeout for attempt in tries] == [0.02, 0.05, 0.1, *[0.2] * 7, 0.375, 0.375]


def test_patience_grows_to_its_limit_at_most():
    looks = [[holder(f"a{number}", 0.8), holder(f"b{number}", 0.9)] for number in range(5)]
    assert after(*looks, [holder("c", 0.3)], waited=60).timeout == 0.9


def test_autovacuum_is_made_to_yield_unless_somebody_stays():
    worker = holder("v", 5, "autovacuum worker")
    assert after([worker]) == Attempt(0.2, evict_autovacuum=True)
    assert after([worker, holder("a", 3)]) == NOWAIT
