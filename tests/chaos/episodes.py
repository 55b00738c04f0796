"""Episodes one after the other, each on a store of its own."""

from pathlib import Path
from typing import Final

from tests.chaos.account import Account
from tests.chaos.driver import Episode
from tests.chaos.invariants import INVARIANTS
from tests.chaos.places import Kind, new_place

CYCLES_AN_EPISODE: Final = 25


def endure(directory: Path, kind: Kind, *, seed: int, cycles: int, nodes: int = 3) -> Account:
    """Run so many cycles, in episodes whose seeds follow one another."""
    account = Account()
    for number, start in enumerate(range(0, cycles, CYCLES_AN_EPISODE)):
        folder = directory / f"{kind}-{seed + number}"
        folder.mkdir()
        count = min(CYCLES_AN_EPISODE, cycles - start)
        account += one_episode(folder, kind, seed=seed + number, cycles=count, nodes=nodes)
    return account


def one_episode(directory: Path, kind: Kind, *, seed: int, cycles: int, nodes: int = 3) -> Account:
    """Run one episode and check it."""
    place = new_place(kind, directory)
    try:
        episode = Episode(directory, place, seed=seed, cycles=cycles, nodes=nodes)
        evidence = episode.run()
        return Account.of(evidence, episode.crew.tally, cycles=cycles, checks=INVARIANTS)
    finally:
        place.remove()
