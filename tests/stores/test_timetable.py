"""The timetable hands out keys as a sorted list would."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from asyncsched.stores._timetable import Instants, Timetable

KEYS = st.sampled_from([f"key-{number}" for number in range(12)])
INSTANTS = st.integers(0, 5)
PRIORITIES = st.integers(-1, 1)


class TimetableAgainstAList(RuleBasedStateMachine):
    """Every key stands once; the model is a list of (priority, instant, key)."""

    def __init__(self) -> None:
        super().__init__()
        self.timetable = Timetable()
        self.model: dict[str, tuple[int, int]] = {}

    @rule(key=KEYS, priority=PRIORITIES, instant=INSTANTS)
    def move(self, key: str, priority: int, instant: int) -> None:
        if key in self.model:
            self.timetable.discard(*self.model[key], key)
        self.timetable.add(priority, instant, key)
        self.model[key] = (priority, instant)

    @rule(key=KEYS, priority=PRIORITIES, instant=INSTANTS)
    def discard(self, key: str, priority: int, instant: int) -> None:
        self.timetable.discard(priority, instant, key)
        if self.model.get(key) == (priority, instant):
            del self.model[key]

    @precondition(lambda self: bool(self.model))
    @rule(until=INSTANTS, limit=st.integers(0, 5))
    def take(self, until: int, limit: int) -> None:
        due = sorted((-priority, instant) for priority, instant in self.model.values() if instant <= until)
        taken = self.timetable.take(until, limit)
        places = [self.model.pop(key) for key in taken]
        assert [(-priority, instant) for priority, instant in places] == due[:limit]

    @invariant()
    def earliest_is_first(self) -> None:
        assert self.timetable.first() == min((instant for _, instant in self.model.values()), default=None)
        assert bool(self.timetable) == bool(self.model)


TestTimetable = TimetableAgainstAList.TestCase


@given(st.integers(1, 300), st.integers(1, 50))
def test_first_come_first_served_within_an_instant(size: int, limit: int) -> None:
    instants = Instants()
    keys = [str(number) for number in range(size)]
    for key in keys:
        instants.add(7, key)
    taken: list[str] = []
    while part := instants.take(7, limit):
        taken += part
        assert len(instants) == size - len(taken)
    assert taken == keys


def test_moving_about_leaves_nothing_behind() -> None:
    instants = Instants()
    for instant in range(10_000):
        instants.add(instant, "key")
        instants.discard(instant, "key")
    instants.add(3, "key")
    assert len(instants._heap) < 100
    assert (instants.first(), list(instants), instants.take(9, 9)) == (3, ["key"], ["key"])
