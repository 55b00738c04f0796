"""Jobs that raise what can be raised. All can be imported by a worker process."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, NoReturn

MEGABYTE: Final = 1024 * 1024


class Loud(BaseException):
    pass


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")

    def __repr__(self) -> str:
        raise KeyboardInterrupt


class Rooted(Exception):
    """Cannot be pickled, as it holds a function without a name."""

    def __init__(self) -> None:
        super().__init__("rooted")
        self.hold = lambda: None


def exception() -> NoReturn:
    raise ValueError("plain")


def base_exception() -> NoReturn:
    raise Loud("louder")


def system_exit() -> NoReturn:
    raise SystemExit(3)


def keyboard_interrupt() -> NoReturn:
    raise KeyboardInterrupt


def generator_exit() -> NoReturn:
    raise GeneratorExit


def stop_iteration() -> NoReturn:
    raise StopIteration("too early")


def cancelled_error() -> NoReturn:
    raise asyncio.CancelledError("home-made")


def exception_group() -> NoReturn:
    raise ExceptionGroup("many", [ValueError(number) for number in range(1000)])


def mute() -> NoReturn:
    raise Mute


def huge_message() -> NoReturn:
    raise ValueError("m" * (50 * MEGABYTE))


def unstorable_text() -> NoReturn:
    raise ValueError("nul \0 and surrogate \ud800")


def recursion() -> int:
    return recursion() + 1


def chain_of_causes() -> NoReturn:
    error = ValueError("the first")
    for number in range(5000):
        following = ValueError(f"link {number}")
        following.__cause__ = error
        error = following
    raise error


def unpicklable() -> NoReturn:
    raise Rooted


BAD_JOBS: Final[dict[Callable[[], Any], tuple[str, str]]] = {
    exception: ("ValueError", "plain"),
    base_exception: ("tests.executors.bad_jobs.Loud", "louder"),
    system_exit: ("SystemExit", "3"),
    keyboard_interrupt: ("KeyboardInterrupt", ""),
    generator_exit: ("GeneratorExit", ""),
    stop_iteration: ("StopIteration", "too early"),
    cancelled_error: ("asyncio.exceptions.CancelledError", "home-made"),
    exception_group: ("ExceptionGroup", "many (1000 sub-exceptions)"),
    mute: ("tests.executors.bad_jobs.Mute", "<no message: __str__ raised ValueError>"),
    huge_message: ("ValueError", "characters cut"),
    unstorable_text: ("ValueError", "nul \\x00 and surrogate \\ud800"),
    recursion: ("RecursionError", "maximum recursion depth exceeded"),
    chain_of_causes: ("ValueError", "link 4999"),
    unpicklable: ("tests.executors.bad_jobs.Rooted", "rooted"),
}
"""What each is recorded as: the type, and what its message holds."""
