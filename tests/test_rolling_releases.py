"""Pipelines of three releases in any order: no release that is up fails, whoever types what, and when."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.rolling import Shop, shop
from tests.three_releases import NAMES, Stages

EXAMPLES = 100 if os.environ.get("SAFEMIGRATIONS_TEST_ONE_IN") == "1" else 4
NOT_NOW = 75
release = st.sampled_from([1, 2, 3])


@pytest.fixture(scope="module")
def rolled(tmp_path_factory: pytest.TempPathFactory, stages: Stages) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("rolling"), stages, GATE_WATCH=0) as found:
        yield found


@pytest.fixture
def world(rolled):
    """The first release is migrated and up."""
    rolled.begin()
    yield rolled
    rolled.end()


def test_a_release_that_was_rolled_back_after_its_expand_loses_nothing_to_the_old_pipeline(world):
    world.migrate(2).check()
    world.start(2)
    world.stop(2)
    world.migrate(1).check()
    assert world.contract(1).returncode in (0, NOT_NOW)
    assert world.left() == 2
    world.start(2)
    assert set(world.up) == {1, 2}
    world.ask()


def test_a_contract_waits_for_the_old_release_and_then_runs(world):
    world.migrate(2).check()
    world.start(2)
    assert world.contract(2).returncode == NOT_NOW
    world.ask()
    world.stop(1)
    world.contract(2).check()
    assert world.left() == 0
    world.ask()
    world.start(1)
    assert set(world.up) == {2}


def test_a_release_that_is_skipped_on_the_way(world):
    world.migrate(3).check()
    world.start(3)
    world.ask()
    assert world.contract(3).returncode == NOT_NOW
    world.stop(1)
    world.contract(3).check()
    world.ask()


def test_two_pipelines_at_the_same_moment(world):
    """Each with its own image: requests are answered all the while, and nothing is dropped."""
    migrate, contract = ["migrate", "--noinput"], ["migrate", "--contract", "--noinput"]
    commands = [(2, migrate), (1, contract), (2, contract)]
    running = [world.trees[number - 1].start(*command) for number, command in commands]
    while any(one.process.poll() is None for one in running):
        world.ask()
    for (number, command), one in zip(commands, running, strict=True):
        ended = one.wait()
        assert ended.returncode == 0 or (command == contract and ended.returncode == NOT_NOW), (number, ended)
    assert (world.applied(), world.left()) == (2, 2)
    world.start(2)
    world.ask()


class Rolling(RuleBasedStateMachine):
    """Whoever deploys may type anything at any time, in any tree."""

    world: Shop

    @initialize()
    def begin(self):
        self.world.said.clear()
        self.world.begin()

    @rule(number=release)
    def migrate(self, number):
        self.world.migrate(number)

    @rule(number=release)
    def roll_out(self, number):
        self.world.start(number)

    @rule(number=release)
    def roll_back(self, number):
        self.world.stop(number)

    @rule(number=release)
    def contract(self, number):
        self.world.contract(number)

    @rule(number=release, to=release)
    def go_back(self, number, to):
        self.world.go_back(number, to)

    @rule(number=release, to=release)
    def reverse(self, number, to):
        self.world.manage(number, "migrate", "shop", NAMES[to - 1])

    @invariant()
    def every_release_that_is_up_can_read_and_write(self):
        self.world.ask()

    def teardown(self):
        """Whatever happened, the newest release arrives."""
        try:
            self.world.migrate(3).check()
            self.world.ask()
            for number in (1, 2):
                self.world.stop(number)
            self.world.contract(3).check()
            self.world.start(3)
            self.world.ask()
            assert (self.world.left(), set(self.world.up)) == (0, {3}), self.world.said
        finally:
            self.world.end()


def test_no_order_of_commands_breaks_a_release_that_is_up(rolled):
    Rolling.world = rolled
    run_state_machine_as_test(
        Rolling,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=10,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],  # to make a failure shorter takes minutes, and it has ten lines at most
            suppress_health_check=list(HealthCheck),
        ),
    )
