"""The text of an exception: bounded, storable, and never the cause of another failure."""

from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsched.executors.outcome import (
    MESSAGE_BYTES,
    TRACEBACK_BYTES,
    describe_exception,
    failed,
    refused,
    returned,
    storable,
)


@given(text=st.text(st.characters(codec=None, exclude_categories=()), max_size=400), limit=st.integers(128, 400))
def test_any_text_becomes_storable_within_the_limit(text: str, limit: int) -> None:
    kept = storable(text, limit)

    assert len(kept.encode()) <= limit
    assert "\0" not in kept


@given(text=st.text(max_size=100).filter(lambda text: "\0" not in text))
def test_a_text_that_fits_is_left_as_it_is(text: str) -> None:
    assert storable(text, 400) == text


@pytest.mark.parametrize("character", ["x", "é", "€", "🙂", "\0", "\ud800"])
@pytest.mark.parametrize("count", [8191, 8192, 8193, 1_000_000])
def test_a_long_text_keeps_both_ends(character: str, count: int) -> None:
    kept = storable("begin" + character * count + "end", MESSAGE_BYTES)

    assert kept.startswith("begin")
    assert kept.endswith("end")
    assert " cut …" in kept
    assert MESSAGE_BYTES // 2 < len(kept.encode()) <= MESSAGE_BYTES


class Overridden(str):
    """A text that lies about itself."""

    __slots__ = ()

    def __len__(self) -> int:
        return 1

    def __getitem__(self, key: Any) -> NoReturn:
        raise ValueError

    def encode(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise ValueError


def test_a_text_of_a_class_of_its_own_is_cut_all_the_same() -> None:
    kept = storable(Overridden("x" * 100_000), MESSAGE_BYTES)

    assert type(kept) is str
    assert len(kept) <= MESSAGE_BYTES


class Raising:
    def __str__(self) -> NoReturn:
        raise KeyboardInterrupt

    __repr__ = __str__


def _class_with(**names: Any) -> BaseException:
    kind: type[BaseException] = type("Odd", (Exception,), names)
    return kind("odd")


class Nameless(type):
    def __getattribute__(cls, name: str) -> Any:
        if name == "__qualname__":
            raise SystemExit
        return super().__getattribute__(name)


class NamelessError(Exception, metaclass=Nameless):
    pass


def _property_that_raises(_: object) -> NoReturn:
    raise KeyboardInterrupt


def _with_note(note: object) -> BaseException:
    error = ValueError("noted")
    error.__notes__ = [note]  # type: ignore[list-item]
    return error


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        pytest.param(_class_with(__module__=Raising()), "<a class without a name>", "odd", id="module"),
        pytest.param(_class_with(__module__=None), "None.Odd", "odd", id="no module"),
        pytest.param(NamelessError("odd"), "<a class without a name>", "odd", id="name"),
        pytest.param(_class_with(__cause__=property(_property_that_raises)), f"{__name__}.Odd", "odd", id="cause"),
        pytest.param(
            _class_with(__traceback__=property(_property_that_raises)), f"{__name__}.Odd", "odd", id="traceback"
        ),
        pytest.param(_with_note(Raising()), "ValueError", "noted", id="note"),
        pytest.param(ValueError(Raising()), "ValueError", "<no message: __str__ raised KeyboardInterrupt>", id="str"),
    ],
)
def test_what_raises_when_it_is_asked_costs_no_more_than_itself(error: BaseException, kind: str, message: str) -> None:
    outcome = failed(error)

    assert outcome.kind == "failed"
    assert outcome.error is not None
    assert (outcome.error.type, outcome.error.message) == (kind, message)


class Disguised(Exception):
    @property
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise RuntimeError

    @__class__.setter
    def __class__(self, value: Any) -> None:
        raise NotImplementedError


def test_an_exception_that_does_not_tell_its_class_is_not_handed_on() -> None:
    assert failed(Disguised("hidden")).exception is None

    error = ValueError("open")
    assert failed(error).exception is error


@pytest.mark.parametrize(
    "error",
    [
        KeyError("k" * 1_000_000),
        ValueError("a", b"b" * 1_000_000, "c" * 1_000_000),
        OSError(2, "m" * 1_000_000, "f" * 1_000_000),
        ValueError(list(range(1_000_000))),
        UnicodeDecodeError("utf-8", b"\xff" * 1_000_000, 0, 1, "r" * 1_000_000),
        type("E" * 100_000, (Exception,), {})("named"),
    ],
    ids=lambda error: str(type(error).__name__)[:20],
)
def test_huge_arguments_are_cut(error: BaseException) -> None:
    text = describe_exception(error)

    assert len(text.type.encode()) <= 512
    assert 0 < len(text.message.encode()) <= MESSAGE_BYTES


def caught(raising: Callable[[], Any]) -> BaseException:
    try:
        raising()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def _wide_and_deep() -> NoReturn:
    error: Exception = ValueError("core")
    for number in range(60):
        error = ExceptionGroup[Exception](f"level {number}", [error, *[ValueError("x" * 10_000) for _ in range(50)]])
    raise error


def test_a_tree_of_groups_is_shown_in_part() -> None:
    text = describe_exception(caught(_wide_and_deep))

    assert "level 59" in text.message
    assert len(text.traceback.encode()) <= TRACEBACK_BYTES
    assert "more ---" in text.traceback


def _circle() -> NoReturn:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


def test_causes_that_go_in_a_circle_are_shown_once() -> None:
    text = describe_exception(caught(_circle))

    assert text.traceback.count("ValueError: second") == 1
    assert text.traceback.endswith("ValueError: first")


def _chained() -> NoReturn:
    try:
        raise KeyError("inner")
    except KeyError as error:
        raise ValueError("outer") from error


def _suppressed() -> NoReturn:
    try:
        raise KeyError("inner")
    except KeyError:
        raise ValueError("outer") from None


def test_the_cause_comes_first_and_what_is_suppressed_not_at_all() -> None:
    chained, suppressed = (describe_exception(caught(raising)).traceback for raising in (_chained, _suppressed))

    assert chained.index("KeyError: 'inner'") < chained.index("ValueError: outer")
    assert "direct cause" in chained
    assert "KeyError" not in suppressed
    assert "in _suppressed" in suppressed


def _deep(depth: int) -> None:
    if depth == 0:
        raise ValueError("bottom")
    _deep(depth - 1)


def test_the_first_and_the_last_frames_of_a_long_traceback_are_kept() -> None:
    text = describe_exception(caught(lambda: _deep(500))).traceback

    assert "frames cut" in text
    assert text.index("in caught") < text.index("frames cut") < text.index('raise ValueError("bottom")')


def test_what_could_not_be_run_has_no_traceback() -> None:
    error = caught(_chained)
    assert isinstance(error, Exception)
    error.__cause__ = error.__context__ = None

    outcome = refused(error)

    assert outcome.error is not None
    assert outcome.error.traceback == "ValueError: outer"


async def _coroutine() -> None:
    raise AssertionError("never runs")


def _generator() -> Any:
    yield


async def _async_generator() -> Any:
    yield


class Awaitable:
    def __await__(self) -> Any:
        yield


@pytest.mark.parametrize(
    ("make", "kind"),
    [(_coroutine, "coroutine"), (_generator, "generator"), (_async_generator, "async_generator"), (Awaitable, "Await")],
)
def test_a_body_that_nobody_runs_is_a_failure(make: Callable[[], Any], kind: str) -> None:
    outcome = returned(make())

    assert outcome.error is not None
    assert outcome.error.type == "TypeError"
    assert kind in outcome.error.message
