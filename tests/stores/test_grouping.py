"""Calls of many tasks written together: nobody's cancellation loses, doubles or hides another's request."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import TaskGroup

from asyncsched._engine.bridge import DriverLoop, driver_loop, driver_sleep, loop_name
from asyncsched.errors import (
    AsyncschedError,
    InvalidTriggerError,
    JobExistsError,
    JobNotFoundError,
    SerializationError,
    StoreUnavailableError,
    TaskNotRegisteredError,
)
from asyncsched.stores.grouping import Grouped
from asyncsched.stores.postgres_connections import UnknownFateError

pytestmark = pytest.mark.anyio


class Book:
    """Writes requests down in the driver's loop, one batch at a time, as a store does."""

    def __init__(self, loop: DriverLoop, slots: int = 1) -> None:
        self.written: list[int] = []
        self.batches: list[list[int]] = []
        self.errors: list[Exception] = []
        self.slots = anyio.Semaphore(slots)
        self.begun = anyio.Event()
        self.release: anyio.Event | None = None
        self._loop = loop

    async def write(self, requests: Sequence[int], answers: list[int | Exception]) -> None:
        async with self.slots:
            self.begun.set()
            if self.release is not None:
                await self.release.wait()
            answers += await self._loop.run(partial(self._write, list(requests)))

    async def _write(self, requests: list[int]) -> list[int | Exception]:
        await driver_sleep(0)
        self.batches.append(requests)
        if self.errors:
            raise self.errors.pop()
        await driver_sleep(0)
        new = [request for request in requests if request not in self.written]  # repeating does no harm
        self.written += new
        return [request if request >= 0 else JobExistsError([str(request)]) for request in requests]


@asynccontextmanager
async def opened(slots: int = 1) -> AsyncGenerator[Book]:
    loop = driver_loop()
    try:
        yield Book(loop, slots)
    finally:
        await loop.close()


class Asker:
    """One caller, and what became of its call."""

    def __init__(self, grouped: Grouped[int, int], request: int) -> None:
        self.request = request
        self.outcome: object = "nothing"
        self.scope = anyio.CancelScope()
        self._grouped = grouped

    async def ask(self) -> None:
        with self.scope:
            self.outcome = "cancelled"
            try:
                self.outcome = await self._grouped.call(self.request)
            except AsyncschedError as error:
                self.outcome = error


async def until_quiet() -> None:
    """Let every task run for as long as it finds something to do of itself."""
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


async def begin(tasks: TaskGroup, askers: Sequence[Asker]) -> None:
    """Let them ask in this order."""
    for asker in askers:
        tasks.start_soon(asker.ask)
        await until_quiet()


async def test_what_gathers_is_written_together_in_order() -> None:
    askers: list[Asker] = []
    async with opened() as book, anyio.create_task_group() as tasks:
        grouped = Grouped(book.write, 5)
        askers += [Asker(grouped, number) for number in range(12)]
        book.release = anyio.Event()
        await begin(tasks, askers)
        book.release.set()
    assert [asker.outcome for asker in askers] == list(range(12))
    assert book.batches == [[0], [1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [11]]


async def test_each_is_told_its_own_answer() -> None:
    askers: list[Asker] = []
    async with opened() as book, anyio.create_task_group() as tasks:
        grouped = Grouped(book.write, 100)
        askers += [Asker(grouped, number) for number in (0, 1, -2, 3)]
        book.release = anyio.Event()
        await begin(tasks, askers)
        book.release.set()
    assert [asker.outcome for asker in askers if asker.request >= 0] == [0, 1, 3]
    refused = askers[2].outcome
    assert isinstance(refused, JobExistsError)
    assert refused.job_ids == ("-2",)


@pytest.mark.parametrize(
    "error",
    [
        StoreUnavailableError("away"),
        JobExistsError(["a", "b"]),
        JobNotFoundError("a", ["b"]),
        TaskNotRegisteredError("a", ["b"]),
        InvalidTriggerError("odd", field="minute", value=99, column=3),
        UnknownFateError("store", "17", None, None),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_failed_write_is_told_to_all_of_its_batch(error: AsyncschedError) -> None:
    askers: list[Asker] = []
    async with opened() as book, anyio.create_task_group() as tasks:
        grouped = Grouped(book.write, 100)
        askers += [Asker(grouped, number) for number in range(4)]
        book.release = anyio.Event()
        await begin(tasks, askers)
        book.errors = [error]
        book.release.set()
    told = askers[0].outcome
    assert type(told) is type(error)
    assert told is not error
    assert str(told) == str(error)
    assert vars(told) == vars(error)
    assert [asker.outcome for asker in askers[1:]] == [1, 2, 3]


async def test_failed_write_gives_each_follower_an_error_of_its_own() -> None:
    askers: list[Asker] = []
    cause = SerializationError("odd")
    async with opened() as book, anyio.create_task_group() as tasks:
        grouped = Grouped(book.write, 100)
        askers += [Asker(grouped, number) for number in range(4)]
        book.release = anyio.Event()
        await begin(tasks, askers)
        book.errors = [cause, SerializationError("first")]
        book.release.set()
    told = [asker.outcome for asker in askers[1:]]
    assert [str(one) for one in told] == ["odd"] * 3
    assert len({id(one) for one in told}) == 3
    assert all(isinstance(one, SerializationError) and one.__cause__ is cause for one in told)


async def test_leader_cancelled_before_it_wrote_hands_over() -> None:
    askers: list[Asker] = []
    async with opened() as book, anyio.create_task_group() as tasks:
        grouped = Grouped(book.write, 100)
        askers += [Asker(grouped, number) for number in range(4)]
        await book.slots.acquire()  # the leader waits for a connection
        await begin(tasks, askers)
        askers[0].scope.cancel()
        await until_quiet()
        askers[1].scope.cancel()
        await until_quiet()
        book.slots.release()
    assert [asker.outcome for asker in askers] == ["cancelled", "cancelled", 2, 3]
    assert book.batches == [[2, 3]]


async def test_followers_cancelled_with_the_batch_not_begun_leave_it_at_once() -> None:
    askers: list[Asker] = []
    async with opened() as book, anyio.create_task_group() as tasks:
        grouped = Grouped(book.write, 100)
        askers += [Asker(grouped, number) for number in range(4)]
        book.release = anyio.Event()
        await begin(tasks, askers)
        askers[1].scope.cancel()
        askers[3].scope.cancel()
        await until_quiet()
        assert [askers[1].outcome, askers[3].outcome] == ["cancelled", "cancelled"]
        book.release.set()
    assert [asker.outcome for asker in askers] == [0, "cancelled", 2, "cancelled"]
    assert book.written == [0, 2]


async def test_follower_cancelled_while_it_is_written_has_its_answer() -> None:
    askers: list[Asker] = []
    async with opened() as book, anyio.create_task_group() as tasks:
        grouped = Grouped(book.write, 100)
        askers += [Asker(grouped, number) for number in range(4)]
        book.release = anyio.Event()
        await begin(tasks, askers)
        book.begun, release = anyio.Event(), book.release
        book.release = anyio.Event()
        release.set()
        await book.begun.wait()  # the second batch
        askers[2].scope.cancel()
        askers[3].scope.cancel()
        await until_quiet()
        book.release.set()
    assert book.batches == [[0], [1, 2, 3]]
    assert [asker.outcome for asker in askers] == [0, 1, 2, 3]


async def test_followers_cancelled_with_a_leader_that_never_writes_block_nobody() -> None:
    """The batch is begun, its leader waits for a connection, both are cancelled: whoever is left writes."""
    askers: list[Asker] = []
    async with opened() as book, anyio.create_task_group() as tasks:
        grouped = Grouped(book.write, 100)
        askers += [Asker(grouped, number) for number in range(6)]
        book.release = anyio.Event()
        await begin(tasks, askers[:5])
        await _seize(tasks, book)
        book.release.set()
        await _until(lambda: askers[0].outcome == 0)
        await until_quiet()  # the second batch waits for a connection now
        tasks.start_soon(askers[5].ask)
        await until_quiet()
        askers[2].scope.cancel()
        await until_quiet()
        askers[1].scope.cancel()
        await until_quiet()
        book.slots.release()
        await until_quiet()
    assert [asker.outcome for asker in askers] == [0, "cancelled", "cancelled", 3, 4, 5]
    assert book.written == [0, 3, 4, 5]


async def _seize(tasks: TaskGroup, book: Book) -> None:
    """Be the next to have the only slot."""
    tasks.start_soon(book.slots.acquire)
    await until_quiet()


async def _until(is_so: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not is_so():
            await anyio.lowlevel.checkpoint()


class Partly:
    """Writes one request after the other, as is done where one of a batch spoils the statement."""

    def __init__(self, book: Book) -> None:
        self._book = book

    async def write(self, requests: Sequence[int], answers: list[int | Exception]) -> None:
        for request in requests:
            one: list[int | Exception] = []
            await self._book.write([request], one)
            answers += one


async def test_leader_cancelled_in_the_middle_of_a_batch_settles_what_was_written() -> None:
    askers: list[Asker] = []
    async with opened() as book, anyio.create_task_group() as tasks:
        grouped = Grouped(Partly(book).write, 100)
        askers += [Asker(grouped, number) for number in range(5)]
        book.release = anyio.Event()
        await begin(tasks, askers)
        book.release.set()
        await _until(lambda: book.written == [0, 1])
        askers[1].scope.cancel()
    assert [asker.outcome for asker in askers] == [0, 1, 2, 3, 4]
    assert sorted(book.written) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("partly", [False, True], ids=["whole", "one by one"])
async def test_cancelled_at_random_nothing_is_lost_or_hidden(seed: int, *, partly: bool) -> None:
    chance = random.Random(seed)
    async with opened(slots=1) as book:
        grouped = Grouped(Partly(book).write if partly else book.write, 7)
        askers = [Asker(grouped, number) for number in range(100)]
        victims = chance.sample(askers, 50)
        with anyio.fail_after(50):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_disturb, book, chance)
                for asker in askers:
                    tasks.start_soon(asker.ask)
                    for _ in range(chance.choice((0, 0, 0, 1, 2, 5))):
                        await anyio.lowlevel.checkpoint()
                    if chance.random() < 0.7 and victims:
                        victims.pop().scope.cancel()
    for asker in askers:
        was_written = asker.request in book.written
        assert asker.outcome == (asker.request if was_written else "cancelled"), asker.request
    assert len(book.written) == len(set(book.written))
    spared = [asker for asker in askers if not asker.scope.cancel_called]
    assert len(spared) >= 50
    assert all(asker.outcome == asker.request for asker in spared)


async def _disturb(book: Book, chance: random.Random) -> None:
    """Hold the connection now and then, so that leaders wait for it."""
    for _ in range(20):
        async with book.slots:
            for _ in range(chance.randrange(6)):
                await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()


# -- native cancellations, which are delivered through every shield ---------------------------


@pytest.mark.parametrize("times", [1, 2])
async def test_follower_cancelled_natively_with_a_leader_that_never_writes_blocks_nobody(times: int) -> None:
    if loop_name() == "trio":
        pytest.skip("trio has no native cancellations")
    async with opened() as book, asyncio.TaskGroup() as tasks:
        grouped = Grouped(book.write, 100)
        book.release = anyio.Event()
        first = tasks.create_task(grouped.call(0))
        await until_quiet()
        second, third = (tasks.create_task(grouped.call(number)) for number in (1, 2))
        await until_quiet()
        taken = tasks.create_task(book.slots.acquire())
        await until_quiet()
        book.release.set()
        assert await first == 0
        await until_quiet()
        fourth = tasks.create_task(grouped.call(3))
        for _ in range(times):
            third.cancel()
            await until_quiet()
        second.cancel()  # the leader, which waits for a connection
        await until_quiet()
        assert taken.done()
        book.slots.release()
        with anyio.fail_after(20):
            assert await fourth == 3
    assert second.cancelled()
    assert third.cancelled()
    assert book.written == [0, 3]


@pytest.mark.parametrize("seed", range(10))
async def test_native_cancellations_at_random_keep_nobody_else_waiting(seed: int) -> None:
    if loop_name() == "trio":
        pytest.skip("trio has no native cancellations")
    chance = random.Random(seed)
    async with opened() as book:
        grouped = Grouped(book.write, 7)
        spared: list[asyncio.Task[int]] = []
        with anyio.fail_after(50):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_disturb(book, chance))
                for number in range(100):
                    task = tasks.create_task(grouped.call(number))
                    for _ in range(chance.choice((0, 0, 1, 3))):
                        await anyio.lowlevel.checkpoint()
                    if chance.random() < 0.5:
                        spared.append(task)
                        continue
                    for _ in range(chance.choice((1, 1, 2, 3))):
                        task.cancel()
                        await anyio.lowlevel.checkpoint()
    assert all(task.result() in book.written for task in spared)
    assert len(book.written) == len(set(book.written))
