"""The finished rows of one job in the order of their instants, so that `why` need not look at them all."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Final, final

from asyncsched.run import PLANNED_CAUSES, RunRecord

__all__ = ["NEIGHBOURS", "REVISIONS", "HistoryIndex", "around"]

REVISIONS: Final = 100
NEIGHBOURS: Final = 20

_place = attrgetter("revision", "fire_time")
_revision = attrgetter("revision")


@final
class HistoryIndex:
    """Rows by revision and instant."""

    __slots__ = ("_rows",)

    def __init__(self, rows: Iterable[RunRecord]) -> None:
        self._rows = sorted(rows, key=_place)

    def add(self, row: RunRecord) -> None:
        """Put in a row."""
        insort(self._rows, row, key=_place)

    def around(self, at: int) -> Iterator[RunRecord]:
        """Yield the rows that tell what was the matter at an instant; see `JobStore.around`."""
        rows, end = self._rows, len(self._rows)
        for _ in range(REVISIONS):
            if end == 0:
                return
            revision = rows[end - 1].revision
            start = bisect_left(rows, revision, 0, end, key=_revision)
            last = bisect_right(rows, (revision, at), start, end, key=_place)
            yield from _told(rows[index] for index in range(last - 1, start - 1, -1))
            end = start


def around(rows: Iterable[RunRecord], at: int) -> Iterator[RunRecord]:
    """Yield the same of rows in any order, which are few."""
    yield from HistoryIndex(rows).around(at)


def _told(newest_first: Iterable[RunRecord]) -> Iterator[RunRecord]:
    """Yield the first rows, and the first that a trigger brought about."""
    has_planned = False
    for number, row in enumerate(newest_first):
        is_planned = row.cause in PLANNED_CAUSES
        if number < NEIGHBOURS or (is_planned and not has_planned):
            yield row
        has_planned = has_planned or is_planned
        if number >= NEIGHBOURS - 1 and has_planned:
            return
