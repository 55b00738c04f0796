"""Runs as rows, and back."""

from typing import TYPE_CHECKING, Any, Final, cast, final

import msgspec

from asyncsched.errors import SerializationError
from asyncsched.run import RunError, RunRecord
from asyncsched.stores.sql import Row, read_column, readable_text, storable
from asyncsched.stores.sql_jobs import FIRST_INSTANT, LAST_INSTANT

if TYPE_CHECKING:
    from asyncsched.codec import Codec

__all__ = ["RunRows"]

_INSTANTS: Final = (3, 4, 10, 11, 12)
"""Where a row of `RUN_COLUMNS` holds instants: fire_time, scheduled_time, started_at, finished_at, until."""
_COUNTS: Final = (7, 8, 19)
"""Where it holds attempt, lost_count and snoozes."""
_MOST: Final = 2**53
_PLAIN: Final = (0, None, None, 0, None, None, None)
"""What most rows hold from there on: no snoozes, no limit, not unbound, and so on."""

_encode_json = msgspec.json.Encoder().encode
_decode_error = msgspec.json.Decoder(RunError).decode


@final
class RunRows:
    """Turns runs into rows and rows into runs."""

    def __init__(self, codec: "Codec") -> None:
        self._codec = codec

    def row(self, run: RunRecord) -> Row:
        """Return the values of `RUN_COLUMNS`.

        Raises:
            SerializationError: an argument cannot be stored.
        """
        return (
            run.id,
            run.job_id,
            run.revision,
            run.fire_time,
            run.scheduled_time,
            run.state,
            run.cause,
            run.attempt,
            run.lost_count,
            run.node,
            run.started_at,
            run.finished_at,
            run.until,
            run.count,
            storable(run.reason),
            run.result,
            None if run.error is None else self.error_bytes(run.error),
            None if run.args is None else self._codec.encode_arguments(run.args, {}),
            None if run.kwargs is None else self._codec.encode_arguments((), run.kwargs),
            run.snoozes,
            run.limit_key,
            run.unique_key,
            run.unbound,
            run.parent,
            run.input,
            storable(run.logs),
        )

    @staticmethod
    def fresh_row(run: RunRecord) -> Row:
        """Return the values of `FRESH_RUN_COLUMNS`."""
        return (
            run.id,
            run.job_id,
            run.revision,
            run.fire_time,
            run.scheduled_time,
            run.state,
            run.cause,
            run.attempt,
            run.lost_count,
            run.node,
            run.started_at,
        )

    @staticmethod
    def error_bytes(error: RunError) -> bytes:
        """Return an error as bytes; whatever its texts hold, that succeeds."""
        try:
            return _encode_json(error)
        except UnicodeEncodeError:
            texts = (storable(error.type), storable(error.message), storable(error.traceback))
            return _encode_json(RunError(*cast("tuple[str, str, str]", texts)))

    def read(self, row: Row) -> RunRecord:
        """Return the run of a row.

        Raises:
            SerializationError: a part cannot be read.
        """
        _check_numbers(row)
        error, args, kwargs = row[16:19]
        record = self._run(row, None if error is None else read_column(_decode_error, error, "error"))
        if args is None and kwargs is None:
            return record
        return msgspec.structs.replace(
            record,
            args=None if args is None else read_column(self._codec.decode_arguments, args, "arguments")[0],
            kwargs=None if kwargs is None else read_column(self._codec.decode_arguments, kwargs, "arguments")[1],
        )

    def read_anyhow(self, row: Row) -> RunRecord:
        """Return the run of a row, leaving out what cannot be read and saying so in its reason."""
        try:
            return self.read(row)
        except SerializationError as unreadable:
            reason = readable_text(row[14])
            shown = f"{unreadable}" if reason is None else f"{reason}; {unreadable}"
            return msgspec.structs.replace(self._run(_with_sound_numbers(row), None), reason=shown)

    @staticmethod
    def _run(row: Row, error: RunError | None) -> RunRecord:
        run = RunRecord(
            id=row[0],
            job_id=row[1],
            revision=row[2],
            fire_time=row[3],
            scheduled_time=row[4],
            state=row[5],
            cause=row[6],
            attempt=row[7],
            lost_count=row[8],
            node=row[9],
            started_at=row[10],
            finished_at=row[11],
            until=row[12],
            count=row[13],
            reason=readable_text(row[14]),
            result=row[15],
            error=error,
        )
        if row[19:] == _PLAIN:
            return run
        return msgspec.structs.replace(
            run,
            snoozes=row[19],
            limit_key=readable_text(row[20]),
            unique_key=readable_text(row[21]),
            unbound=bool(row[22]),
            parent=readable_text(row[23]),
            input=row[24],
            logs=readable_text(row[25]),
        )


def _check_numbers(row: Row) -> None:
    """Refuse a row whose instants are none, or whose counts cannot be counted on.

    Raises:
        SerializationError: it is so.
    """
    for index in _INSTANTS:
        if not _is_instant(row[index]):
            raise SerializationError(f"the stored instant {row[index]!r:.100} lies outside the years 1 to 9999")
    for index in _COUNTS:
        if not 0 <= row[index] <= _MOST:
            raise SerializationError(f"the stored count {row[index]!r:.100} is none")


def _is_instant(value: object) -> bool:
    return value is None or (isinstance(value, int) and FIRST_INSTANT <= value <= LAST_INSTANT)


def _with_sound_numbers(row: Row) -> Row:
    """Return a row in which the epoch and zero stand for numbers that are none."""
    sound: list[Any] = list(row)
    for index in _INSTANTS:
        if not _is_instant(row[index]):
            sound[index] = 0
    for index in _COUNTS:
        sound[index] = min(max(row[index], 0), _MOST)
    return tuple(sound)
