"""The fast form of ``python -m tests.chaos``: every point of failure once on each store, and a seed of its own each time."""

import random
from pathlib import Path

import pytest

from tests.chaos.episodes import one_episode
from tests.chaos.failpoints import MIGRATION, POINTS
from tests.chaos.places import Kind
from tests.chaos.schedule import ANY_MOMENT, draw_faults, draw_migrations

STORES: "tuple[Kind, ...]" = ("sqlite",)
SEEDS = (3, random.SystemRandom().randrange(10**9))
CYCLES = 8


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("store", STORES)
def test_nothing_is_lost_or_doubled_whatever_process_dies_or_freezes(tmp_path: Path, store: Kind, seed: int) -> None:
    account = one_episode(tmp_path, store, seed=seed, cycles=CYCLES)
    print(f"seed {seed} on {store}\n{account}")
    assert account.broken == {}
    assert account.states["succeeded"] > 50
    assert account.tally.kills.total() > 1


def test_the_same_seed_brings_the_same_faults() -> None:
    assert draw_faults(7, 60) == draw_faults(7, 60) != draw_faults(8, 60)
    assert draw_migrations(7, 3) == draw_migrations(7, 3) != draw_migrations(8, 3)


def test_each_point_has_its_turn() -> None:
    turn = len(POINTS) - 1 + len(ANY_MOMENT)
    for start in (0, turn):
        points = [fault.point for fault in draw_faults(11, 2 * turn)[start : start + turn] if fault.point is not None]
        assert sorted([*points, MIGRATION]) == sorted(POINTS)
