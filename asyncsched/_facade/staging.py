"""Jobs that are added before the start: kept in memory stores and moved when the real ones are open."""

from collections.abc import Mapping, Sequence
from typing import Final, final

from asyncsched._engine.definitions import Definitions
from asyncsched.clock import Clock, new_job_id
from asyncsched.codec import Codec
from asyncsched.job import JobRecord
from asyncsched.stores.base import JobStore, StoreContext
from asyncsched.stores.memory import MemoryJobStore

__all__ = ["Staging"]


@final
class Staging:
    """One memory store for each store that jobs are waiting for."""

    def __init__(self, clock: Clock, codec: Codec) -> None:
        self._context = StoreContext(clock, codec, new_job_id, hasattr(clock, "attach"))
        self._replacing: set[str] = set()
        self.places: Final[dict[str, JobStore]] = {}

    async def open(self, name: str, known: Mapping[str, JobStore]) -> None:
        """Make room for jobs of the store of that name, if there is such a store."""
        if name in known and name not in self.places:
            store = MemoryJobStore()
            await store.open(self._context)
            self.places[name] = store

    def drop(self, name: str) -> None:
        """Forget the jobs that wait for a store."""
        self.places.pop(name, None)

    def check(self, records: Sequence[JobRecord]) -> None:
        """Refuse before the start what a persistent store would refuse at the start.

        Raises:
            SerializationError: an argument, the metadata or the trigger of one cannot be stored.
        """
        codec = self._context.codec
        for record in records:
            codec.encode_arguments(record.args, record.kwargs)
            codec.encode_metadata(record.metadata)
            if record.trigger is not None:
                codec.encode_trigger(record.trigger)

    def note(self, job_ids: list[str]) -> None:
        """Remember that these jobs may replace existing ones."""
        self._replacing.update(job_ids)

    async def move_into(self, definitions: Definitions) -> None:
        """Write everything to the real stores; what was written is gone from here.

        Raises:
            JobExistsError: a job exists already and was not added with ``replace_existing``.
        """
        for name, staged in tuple(self.places.items()):
            records = await staged.query()
            for replacing in (False, True):
                batch = [job for job in records if (job.id in self._replacing) is replacing]
                if batch:
                    await definitions.add(batch, name, replace_existing=replacing)
                    await staged.remove([job.id for job in batch])  # should what follows fail, this is done
            del self.places[name]
        self._replacing.clear()
