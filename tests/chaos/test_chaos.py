"""The fast form of ``python -m tests.chaos``, which draws others each time: a few faults on each store."""

from pathlib import Path

import pytest

from tests.chaos.cluster import Plan, share
from tests.chaos.episodes import one_episode
from tests.chaos.failpoints import MIGRATION, POINTS
from tests.chaos.places import KINDS, Kind
from tests.chaos.schedule import ANY_MOMENT, draw_faults, draw_migrations

SEED = 3
CYCLES = 8


@pytest.mark.timeout(300)
@pytest.mark.parametrize("store", KINDS)
def test_nothing_is_lost_or_doubled_whatever_process_dies_or_freezes(tmp_path: Path, store: Kind) -> None:
    account = one_episode(tmp_path, store, seed=SEED, cycles=CYCLES)
    print(f"seed {SEED} on {store}\n{account}")
    assert account.broken == {}
    assert account.states["succeeded"] > 50
    assert account.tally.kills.total() + account.tally.freezes.total() >= CYCLES


@pytest.mark.timeout(300)
@pytest.mark.parametrize("store", KINDS)
def test_nodes_share_a_heap_of_runs_while_they_are_killed(tmp_path: Path, store: Kind) -> None:
    plan = Plan(nodes=2, runs=5_000, kill_every=0.25, lease_s=2.0)
    account, _took_s = share(tmp_path, store, plan, seed=1)
    assert account.broken == {}
    assert account.states == {"succeeded": plan.runs}
    assert account.tally.kills["at any moment"] > 0


def test_the_same_seed_brings_the_same_faults() -> None:
    assert draw_faults(7, 60) == draw_faults(7, 60) != draw_faults(8, 60)
    assert draw_migrations(7, 3) == draw_migrations(7, 3) != draw_migrations(8, 3)


def test_each_point_has_its_turn() -> None:
    turn = len(POINTS) - 1 + len(ANY_MOMENT)
    for start in (0, turn):
        points = [fault.point for fault in draw_faults(11, 2 * turn)[start : start + turn] if fault.point is not None]
        assert sorted([*points, MIGRATION]) == sorted(POINTS)
