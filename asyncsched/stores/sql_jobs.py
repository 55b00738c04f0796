"""Jobs as rows, and back."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast, final

import msgspec

from asyncsched.errors import SerializationError
from asyncsched.job import JobRecord, JobState, Policies, Tail
from asyncsched.stores.sql import Row, read_column, readable_text, slots_of, storable

if TYPE_CHECKING:
    from asyncsched.codec import Codec
    from asyncsched.triggers.base import Trigger

__all__ = ["JobRows", "tail_text"]

K = TypeVar("K")
V = TypeVar("V")

FIRST_INSTANT: Final = -62_135_596_800_000_000
LAST_INSTANT: Final = 253_402_300_799_999_999
"""The years 1 to 9999, which is what a datetime can hold."""

_NO_TAGS: Final = "[]"
_SAME_AS_TRIGGER: Final = None
_NOTHING_WRITTEN: Final = b""
_CACHED_VALUES: Final = 4096

_encode_json = msgspec.json.Encoder().encode
_decode_tags = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_policies = msgspec.json.Decoder(Policies).decode
_decode_tail = msgspec.json.Decoder(Tail).decode


@final
class JobRows:
    """Turns records into rows and rows into records. For one thread at a time.

    Equal policies and triggers are common, so that what was made of the latest few thousand is kept.
    """

    def __init__(self, codec: "Codec") -> None:
        self._codec = codec
        self._no_arguments = codec.encode_arguments((), {})
        self._no_metadata = codec.encode_value({})
        self._policies_as_bytes: dict[Policies, bytes] = {}
        self._policies_of_bytes: dict[bytes, Policies] = {}
        self._trigger_of_bytes: dict[bytes, Trigger] = {}

    # -- jobs --------------------------------------------------------------------------------

    @staticmethod
    def state_row(job: JobRecord) -> Row:
        """Return the values of `STATE_COLUMNS`."""
        policies = job.policies
        return (
            job.id,
            job.revision,
            job.version,
            policies.priority,
            slots_of(policies),
            policies.keep_runs,
            job.next_fire,
            job.due_at,
            job.last_fire,
            job.state,
            storable(job.reason),
            job.paused_at,
            job.skip_until,
            job.failures,
            job.carried,
            tail_text(job.tail),
        )

    def definition_row(self, job: JobRecord) -> Row:
        """Return the values of `DEFINITION_COLUMNS`.

        Raises:
            SerializationError: a value cannot be stored.
        """
        trigger = None if job.trigger is None else self._codec.encode_trigger(job.trigger)
        return (
            job.task,
            job.name,
            job.executor,
            trigger,
            self._written_bytes(job, trigger),
            self._policies_bytes(job.policies),
            self._codec.encode_arguments(job.args, job.kwargs) if job.args or job.kwargs else self._no_arguments,
            _encode_json(job.tags).decode() if job.tags else _NO_TAGS,
            self._codec.encode_value(dict(job.metadata)) if job.metadata else self._no_metadata,
            job.added_at,
        )

    def _written_bytes(self, job: JobRecord, trigger: bytes | None) -> bytes | None:
        if job.written is job.trigger:
            return _SAME_AS_TRIGGER
        if job.written is None:
            return _NOTHING_WRITTEN
        written = self._codec.encode_trigger(job.written)
        return _SAME_AS_TRIGGER if written == trigger else written

    def _policies_bytes(self, policies: Policies) -> bytes:
        found = self._policies_as_bytes.get(policies)
        return _keep(self._policies_as_bytes, policies, _encode_json(policies)) if found is None else found

    def job(self, state: Row, definition: Row) -> JobRecord:
        """Return the job of two rows.

        Raises:
            SerializationError: a part cannot be read; the text is the reason for people.
        """
        task, name, executor, trigger_bytes, written, policies, arguments, tags, metadata, added_at = definition
        if not (isinstance(task, str) and isinstance(name, str) and isinstance(executor, str)):
            raise SerializationError(f"task, name and executor must be texts, not {(task, name, executor)!r:.200}")
        if not isinstance(added_at, int):
            raise SerializationError(f"added_at={added_at!r} is not an instant")
        trigger = None if trigger_bytes is None else self._trigger(trigger_bytes)
        args, kwargs = self._arguments(arguments)
        return _joined(
            state,
            task,
            name,
            executor,
            trigger,
            self._written(written, trigger),
            self._policies(policies),
            args,
            kwargs,
            () if tags == _NO_TAGS else read_column(_decode_tags, tags, "tags"),
            self._metadata(metadata),
            added_at,
        )

    @staticmethod
    def with_state(job: JobRecord, state: Row) -> JobRecord:
        """Return the job with the values of `STATE_COLUMNS` as they are now.

        Raises:
            SerializationError: an instant is out of range.
        """
        return _joined(
            state,
            job.task,
            job.name,
            job.executor,
            job.trigger,
            job.written,
            job.policies,
            job.args,
            job.kwargs,
            job.tags,
            job.metadata,
            job.added_at,
        )

    @staticmethod
    def unreadable(state: Row, definition: Row | None, reason: str) -> JobRecord:
        """Return what stands for a job that cannot be read: parked, with the parts that can be shown."""
        task, name = definition[:2] if definition is not None else (None, None)
        instants = [value if _is_instant(value) else None for value in (*state[6:9], *state[11:13])]
        job_id = readable_text(state[0]) or ""
        return JobRecord(
            id=job_id,
            task=task if isinstance(task, str) else "",
            name=name if isinstance(name, str) else job_id,
            executor="",
            trigger=None,
            written=None,
            policies=Policies(),
            added_at=0,
            revision=state[1],
            version=state[2],
            next_fire=instants[0],
            due_at=instants[1],
            last_fire=instants[2],
            state="parked",
            reason=reason,
            paused_at=instants[3],
            skip_until=instants[4],
            failures=state[13],
            carried=state[14] if isinstance(state[14], bytes) else None,
        )

    def _trigger(self, stored: Any) -> "Trigger":
        found = self._trigger_of_bytes.get(stored)
        if found is None:
            found = read_column(self._codec.decode_trigger, stored, "trigger")
            _keep(self._trigger_of_bytes, stored, found)
        return found

    def _written(self, stored: Any, trigger: "Trigger | None") -> "Trigger | None":
        if stored is _SAME_AS_TRIGGER:
            return trigger
        return None if stored == _NOTHING_WRITTEN else self._trigger(stored)

    def _policies(self, stored: Any) -> Policies:
        found = self._policies_of_bytes.get(stored)
        if found is None:
            found = read_column(_decode_policies, stored, "policies")
            _keep(self._policies_of_bytes, stored, found)
        return found

    def _arguments(self, stored: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if stored == self._no_arguments:
            return (), {}
        arguments: tuple[tuple[Any, ...], dict[str, Any]] = read_column(
            self._codec.decode_arguments, stored, "arguments"
        )
        return arguments

    def _metadata(self, stored: Any) -> dict[str, Any]:
        if stored == self._no_metadata:
            return {}
        metadata = read_column(self._codec.decode_value, stored, "metadata")
        if not isinstance(metadata, dict):
            raise SerializationError(f"the stored metadata {metadata!r:.100} is not a mapping")
        return cast("dict[str, Any]", metadata)


def _joined(
    state: Row,
    task: str,
    name: str,
    executor: str,
    trigger: "Trigger | None",
    written: "Trigger | None",
    policies: Policies,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    tags: tuple[str, ...],
    metadata: Mapping[str, Any],
    added_at: int,
) -> JobRecord:
    """Return the record of a row of `STATE_COLUMNS` and a definition; made once, for the speed of it."""
    # fmt: off
    (
        id_, revision, version, _, _, _, next_fire, due_at, last_fire, status, reason, paused_at, skip_until,
        failures, carried, tail,
    ) = state
    # fmt: on
    if not isinstance(id_, str):
        raise SerializationError(f"the id {id_!r:.100} is not text")
    _check_instants(next_fire, due_at, last_fire, paused_at, skip_until, added_at)
    return JobRecord(
        id=id_,
        task=task,
        name=name,
        executor=executor,
        trigger=trigger,
        written=written,
        policies=policies,
        args=args,
        kwargs=kwargs,
        tags=tags,
        metadata=metadata,
        added_at=added_at,
        revision=revision,
        version=version,
        next_fire=next_fire,
        due_at=due_at,
        last_fire=last_fire,
        state=cast("JobState", status),
        reason=readable_text(reason),
        paused_at=paused_at,
        skip_until=skip_until,
        failures=failures,
        carried=carried,
        tail=None if tail is None else read_column(_decode_tail, tail, "tail"),
    )


def tail_text(tail: Tail | None) -> str | None:
    """Return the verdict that may be made longer as the text of its column."""
    return None if tail is None else _encode_json(tail).decode()


def _keep(cache: dict[K, V], key: K, value: V) -> V:
    if len(cache) >= _CACHED_VALUES:
        cache.clear()
    cache[key] = value
    return value


def _is_instant(value: object) -> bool:
    return value is None or (isinstance(value, int) and FIRST_INSTANT <= value <= LAST_INSTANT)


def _check_instants(*instants: int | None) -> None:
    for instant in instants:
        if instant is not None and not FIRST_INSTANT <= instant <= LAST_INSTANT:
            raise SerializationError(f"the stored instant {instant!r} lies outside the years 1 to 9999")
