"""Signals of what happens while schema changes are made; docs/events.md has their arguments.

    from django.dispatch import receiver
    from safemigrations.signals import step_waiting

    @receiver(step_waiting)
    def tell(label, blockers, seconds, **kwargs): ...

All arguments are plain data. Every signal carries `event` (its name), `at`, `run`, `database`, `migration`,
`direction`, `row`, `backfill` and `parent`. Write `**kwargs`: arguments may be added, and are never renamed.
"""

from __future__ import annotations

from django.dispatch import Signal

run_started = Signal()
run_ended = Signal()

migration_expanding = Signal()
migration_expanded = Signal()
migration_failed = Signal()

step_started = Signal()
step_skipped = Signal()
step_waiting = Signal()
step_progress = Signal()
step_done = Signal()
step_failed = Signal()

contract_left = Signal()
contract_started = Signal()
contract_done = Signal()
contract_failed = Signal()
contract_refused = Signal()
contract_postponed = Signal()
contract_skipped = Signal()
contract_resumed = Signal()
contract_adopted = Signal()
contract_trusted = Signal()

backfill_started = Signal()
backfill_progress = Signal()
backfill_waiting = Signal()
backfill_done = Signal()
backfill_rejected = Signal()
backfill_changed = Signal()
