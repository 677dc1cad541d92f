"""Decides how long to stand in the queue for a lock, by what was seen of the sessions that hold it.

Whoever comes after a waiting request waits as long as the request does. Behind a holder that stays, NOWAIT gets the
lock as early as a place in the queue would. So a place is for one case alone: short transactions that hold the table
one after the other, without a gap. Such a wait ends with those that hold the table now, and has to be as long as they
live.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Collection, Sequence

from ...data import Data
from .blockers import Blocker

FIRST = 0.3  # seconds that NOWAIT is tried at least
LADDER = (0.02, 0.05, 0.1)  # seconds; then the usual timeout again and again
SHORT = 0.05  # seconds; whoever is younger may be one of the short ones
GROWS_AFTER = 5.0  # seconds without success, from which on a try may be longer than usual
PLACES = 10  # that are tried for the usual time where the holders look short enough for it


class Attempt(Data):
    """One try to get all locks of a step."""

    timeout: float | None  # seconds; None means NOWAIT
    evict_autovacuum: bool = False


class Patience:
    """Decides what to try next.

    `usual` seconds are what queries may wait behind a try; `limit` is what that may grow to where nothing shorter ever
    gets the lock.
    """

    def __init__(self, usual: float, limit: float) -> None:
        self.usual, self.limit = usual, max(usual, limit)
        self.first: Collection[str] | None = None
        self.there: dict[str, Blocker] = {}
        self.lives: deque[float] = deque(maxlen=50)  # how old those were that have ended, when they were seen last
        self.ladder = itertools.chain((min(step, usual) for step in LADDER), itertools.repeat(usual))
        self.places = 0  # of the usual length at most

    def next(self, who: Sequence[Blocker], waited: float) -> Attempt:
        """The next try, after a look at the sessions in the way, `waited` seconds after the first try."""
        self._remember(who)
        if any(blocker.is_long for blocker in who):
            return Attempt(None)
        if any(blocker.is_autovacuum for blocker in who):
            return Attempt(self.usual, evict_autovacuum=True)
        if waited < FIRST:
            return Attempt(None)
        longer = self._longer(waited)
        if self._is_worth_a_place(self.usual) and not (longer and self.places >= PLACES):
            self.places += 1
            return Attempt(next(self.ladder))
        if longer and self._is_worth_a_place(longer):
            return Attempt(longer)
        return Attempt(None)

    def _longer(self, waited: float) -> float | None:
        """The seconds that most of the holders need, if that is longer than usual and within the limit."""
        life = self._most
        if waited < GROWS_AFTER or not self.usual < life <= self.limit:
            return None
        return min(self.limit, 1.25 * life)

    @property
    def _most(self) -> float:
        """The life that nine of ten holders don't exceed."""
        return sorted(self.lives)[len(self.lives) * 9 // 10] if self.lives else 0.0

    def _remember(self, who: Sequence[Blocker]) -> None:
        now = {blocker.transaction: blocker for blocker in who}
        self.lives += [blocker.age for transaction, blocker in self.there.items() if transaction not in now]
        self.there = now
        if self.first is None and now:
            self.first = frozenset(now)

    def _is_worth_a_place(self, longest: float) -> bool:
        """Do the holders change, and will the present ones have ended within this many seconds?"""
        if not self.there:
            return True  # nobody was seen: they are too short for a look, or nobody knows which tables it is about
        if not self.lives or self.first is None or not self.there.keys().isdisjoint(self.first):
            return False
        usual_life = sorted(self.lives)[len(self.lives) // 2]
        old = max(SHORT, 2 * self._most)
        return all(blocker.age <= old and usual_life - blocker.age <= longest for blocker in self.there.values())
