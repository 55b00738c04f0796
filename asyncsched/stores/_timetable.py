"""When what is due: keys (of jobs, of runs) by priority and instant.

Several keys often share an instant, and comparing ints is many times cheaper than comparing tuples:
so the heap holds distinct instants only, and each instant has a bucket of keys. Keys are taken out
of their bucket at once when they move; only an instant whose bucket has emptied stays in the heap
until it reaches the top, or until such instants outnumber the others.
"""

from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import Final, final

__all__ = ["Instants", "Timetable"]

_SPARE: Final = 64
"""How many emptied instants are not worth tidying up."""


@final
class Instants:
    """Keys by instant; first come, first served within one instant."""

    __slots__ = ("_buckets", "_count", "_drained", "_heap")

    def __init__(self) -> None:
        self._heap: list[int] = []
        self._buckets: dict[int, str | dict[str, None]] = {}  # a lone key needs no dictionary of its own
        self._drained: set[int] = set()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        """Yield every key, in no particular order."""
        for bucket in self._buckets.values():
            if isinstance(bucket, str):
                yield bucket
            else:
                yield from bucket

    def add(self, instant: int, key: str) -> None:
        """Enter a key that is not there."""
        bucket = self._buckets.get(instant)
        if bucket is None:
            self._buckets[instant] = key
            heappush(self._heap, instant)
        elif isinstance(bucket, str):
            self._buckets[instant] = {bucket: None, key: None}
        else:
            bucket[key] = None
        self._count += 1

    def discard(self, instant: int, key: str) -> None:
        """Take a key out of its instant; nothing happens when it is not there."""
        bucket = self._buckets.get(instant)
        if bucket is None or (bucket != key if isinstance(bucket, str) else key not in bucket):
            return
        self._count -= 1
        if isinstance(bucket, str):
            self._empty(instant)
        else:
            del bucket[key]
            if not bucket:
                self._empty(instant)

    def first(self) -> int | None:
        """Return the earliest instant that has a key, or ``None``."""
        heap, buckets = self._heap, self._buckets
        while heap and heap[0] not in buckets:
            heappop(heap)
        return heap[0] if heap else None

    def first_of(self, is_wanted: Callable[[str], bool]) -> int | None:
        """Return the earliest instant that has a wanted key, or ``None``; walks the heap no further than there."""
        heap = self._heap
        ahead = [(heap[0], 0)] if heap else []
        while ahead:
            instant, index = heappop(ahead)
            if any(map(is_wanted, self._keys(instant))):
                return instant
            for child in range(2 * index + 1, min(2 * index + 3, len(heap))):
                heappush(ahead, (heap[child], child))
        return None

    def take(self, until: int, limit: int) -> list[str]:
        """Take out up to ``limit`` keys whose instant is at most ``until``, earliest first."""
        taken: list[str] = []
        while len(taken) < limit and (instant := self.first()) is not None and instant <= until:
            bucket = self._buckets[instant]
            if isinstance(bucket, str):
                taken.append(bucket)
            elif len(bucket) > limit - len(taken):
                taken += self._part(instant, bucket, limit - len(taken))
                break
            else:
                taken += reversed(bucket) if instant in self._drained else bucket
            del self._buckets[instant]
            self._drained.discard(instant)
        self._count -= len(taken)
        return taken

    def _part(self, instant: int, bucket: dict[str, None], size: int) -> list[str]:
        """Take the first keys of a bucket that is not taken whole.

        Deleting from the front of a dictionary leaves gaps that every later look has to cross, so
        the bucket is turned round once and then emptied from its end.
        """
        if instant not in self._drained:
            bucket = dict.fromkeys(reversed(bucket))
            self._buckets[instant] = bucket
            self._drained.add(instant)
        part = list(islice(reversed(bucket), size))
        for _ in part:
            bucket.popitem()
        return part

    def _keys(self, instant: int) -> Iterable[str]:
        bucket = self._buckets.get(instant, ())
        return (bucket,) if isinstance(bucket, str) else bucket

    def _empty(self, instant: int) -> None:
        del self._buckets[instant]
        self._drained.discard(instant)
        if len(self._heap) > 2 * len(self._buckets) + _SPARE:
            self._heap = list(self._buckets)
            heapify(self._heap)


@final
class Timetable:
    """Keys by priority, larger first, then by instant."""

    __slots__ = ("_levels", "_order")

    def __init__(self) -> None:
        self._levels: dict[int, Instants] = {}
        self._order: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._levels)

    @property
    def highest(self) -> int:
        """The largest priority of its keys; it has some."""
        return self._order[0]

    def add(self, priority: int, instant: int, key: str) -> None:
        """Enter a key that is not there."""
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = Instants()
            self._order = sorted(self._levels, reverse=True)
        level.add(instant, key)

    def discard(self, priority: int, instant: int, key: str) -> None:
        """Take a key out; nothing happens when it is not there."""
        level = self._levels.get(priority)
        if level is not None:
            level.discard(instant, key)
            if not level:
                self._close(priority)

    def first(self) -> int | None:
        """Return the earliest instant of all priorities, or ``None``."""
        return min((instant for level in self._levels.values() if (instant := level.first()) is not None), default=None)

    def first_of(self, is_wanted: Callable[[str], bool]) -> int | None:
        """Return the earliest instant of all priorities that has a wanted key, or ``None``."""
        firsts = [level.first_of(is_wanted) for level in self._levels.values()]
        return min((instant for instant in firsts if instant is not None), default=None)

    def take(self, until: int, limit: int) -> list[str]:
        """Take out up to ``limit`` keys that are due at ``until``, by priority, then instant."""
        taken: list[str] = []
        for priority in tuple(self._order):
            if len(taken) >= limit:
                break
            level = self._levels[priority]
            taken += level.take(until, limit - len(taken))
            if not level:
                self._close(priority)
        return taken

    def _close(self, priority: int) -> None:
        del self._levels[priority]
        self._order.remove(priority)
