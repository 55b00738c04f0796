"""Jobs that tell and ask, as a program has them in a module of its own: a worker process imports it."""

import logging
import os
import signal
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final, NoReturn

from asyncsched import current_run, register_type
from asyncsched.errors import RetryLater, Snooze
from asyncsched.run import RunError

T1: Final = datetime(2027, 5, 1, 12, tzinfo=UTC)

logger = logging.getLogger("tests.inside")


@register_type
class Colour(Enum):
    RED = "red"


def tell() -> tuple[float, ...]:
    """Tell three times, the values that end and begin what is allowed among them."""
    run = current_run()
    run.progress(0)
    run.progress(0.5, "n" * 5000)
    run.progress(1, "\ud800\0")
    return (0, 0.5, 1)


def tell_until_heard() -> int:
    """Tell a hundred thousand times, and something else last."""
    run = current_run()
    for number in range(100_000):
        run.progress(number / 100_000, "again")
    run.progress(1, "last")
    return 100_000


def tell_nonsense() -> list[str]:
    run = current_run()
    texts: list[str] = []
    for fraction in (1.5, -0.1, float("nan"), float("inf"), "0.5", None):
        try:
            run.progress(fraction)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        except ValueError as error:
            texts.append(str(error))
    for when in ("tomorrow", 3):
        try:
            run.reschedule_at(when)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        except ValueError as error:
            texts.append(str(error))
    return texts


def reschedule() -> None:
    current_run().reschedule_at(T1)
    current_run().reschedule_at(T1 + timedelta(hours=1))


def reschedule_and_fail() -> NoReturn:
    reschedule()
    raise Later


def reschedule_without_zone() -> None:
    current_run().reschedule_at(T1.replace(tzinfo=None))


def ask() -> tuple[Any, Any, str | None]:
    run = current_run()
    return run.input, run.last_result, run.parent_id


def snapshot() -> Any:
    return current_run()


class Later(RetryLater):
    """Is not to be pickled, and says so."""

    def __init__(self) -> None:
        super().__init__(timedelta(seconds=90))

    def __reduce__(self) -> NoReturn:
        raise TypeError("not to be pickled")


class Nap(Snooze):
    """Is pickled, but cannot be made again."""

    def __init__(self, first: float, second: float) -> None:
        super().__init__(first + second)


class Local(ValueError):
    def __reduce__(self) -> NoReturn:
        raise TypeError("not to be pickled")


def later() -> NoReturn:
    raise RetryLater(1.5)


def later_unpickled() -> NoReturn:
    raise Later


def snooze() -> NoReturn:
    raise Snooze(60)


def nap() -> NoReturn:
    raise Nap(1, 2)


def local() -> NoReturn:
    raise Local("x")


def tell_and_die() -> NoReturn:
    run = current_run()
    while True:
        run.progress(0.5, str(os.getpid()))


def tell_in_fork() -> int:
    """Fork while the line is in use; the child tells and logs too, and nobody hears it."""
    run = current_run()
    for _ in range(1000):
        run.progress(0.25, "parent")
    child = os.fork()
    if not child:
        signal.alarm(20)
        for _ in range(1000):
            run.progress(0.75, "child")
            logger.warning("child")
        os._exit(0)
    return os.waitpid(child, 0)[1]


def leave_behind() -> None:
    """Leave a thread that tells on and on."""
    run = current_run()
    run.progress(0.5)

    def tell_on() -> None:
        while True:
            run.progress(0.75, "left behind")

    threading.Thread(target=tell_on, daemon=True).start()


@dataclass
class Hostile:
    kind: str

    def __str__(self) -> str:
        match self.kind:
            case "error":
                raise ValueError("no text")
            case "exit":
                raise SystemExit(7)
            case "logs":
                logger.warning("from within")
                return "logged"
            case _:
                return "m" * 50_000_000


def log_hostile() -> str:
    """Has nobody print its records, which is something the program would see to: it could not take them either."""
    last_resort, logging.lastResort = logging.lastResort, None
    for kind in ("error", "exit", "logs", "megabytes"):
        logger.warning("<%s>", Hostile(kind))
    logger.warning("%d %d", 1)  # noqa: PLE1206 - too few arguments
    odd = {"msg": "odd", "levelno": logging.ERROR, "exc_info": (None, "no exception", None)}
    logger.handle(logging.makeLogRecord(odd))
    logger.error("nul \0 and surrogate \ud800")
    logging.lastResort = last_resort
    return "done"


def log_much() -> None:
    last_resort, logging.lastResort = logging.lastResort, None
    for number in range(10_000):
        logger.warning("line %05d", number)
    logging.lastResort = last_resort


def log_from_everywhere() -> None:
    logger.warning("here")
    logger.info("too low for the level of this program")
    logging.getLogger("another").error("there")
    try:
        raise ValueError("caught")
    except ValueError:
        logger.exception("with a traceback")


def error_of(message: str) -> RunError:
    return RunError("ValueError", message)


def reschedule_within_hour() -> None:
    """Ten minutes later than the full hour, each full hour."""
    run = current_run()
    if not run.fire_time.minute:
        run.reschedule_at(run.fire_time + timedelta(minutes=10))


def give() -> dict[str, Colour]:
    return {"colour": Colour.RED}


def count_on() -> int:
    return (current_run().last_result or 0) + 1


def later_once() -> int:
    if current_run().attempt == 1:
        raise Later
    return current_run().attempt


def local_once() -> int:
    if current_run().attempt == 1:
        raise Local("x")
    return current_run().attempt
