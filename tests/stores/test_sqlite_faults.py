"""A SQLite store under which something is wrong: a clear error, and nothing lost or made up."""

import os
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest

from asyncsched.errors import ConfigurationError, SchedulerStateError, StoreSchemaError, StoreUnavailableError
from asyncsched.stores.sqlite import SQLiteJobStore
from tests.stores.sqlite_support import alter, context, job, opened, start_python

pytestmark = pytest.mark.anyio


async def _refusal(path: Path, error: type[Exception]) -> str:
    store = SQLiteJobStore(path)
    store.busy_timeout = 0.05
    with pytest.raises(error) as caught:
        await store.open(context())
    await store.close()
    assert path.name in str(caught.value)
    return str(caught.value)


async def test_missing_directory_is_named(tmp_path: Path) -> None:
    message = await _refusal(tmp_path / "nowhere" / "jobs.db", StoreUnavailableError)
    assert "does not exist; create it" in message
    assert not (tmp_path / "nowhere").exists()


async def test_directory_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    assert "cannot be opened" in await _refusal(tmp_path, StoreUnavailableError)


async def test_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"my notes\n" * 1000)
    assert "not an SQLite database" in await _refusal(path, StoreSchemaError)
    assert path.read_bytes() == b"my notes\n" * 1000


async def test_tables_of_someone_else_are_left_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    alter(path, "CREATE TABLE jobs (title TEXT)")
    before = path.read_bytes()
    message = await _refusal(path, StoreSchemaError)
    assert "['jobs']" in message
    assert "file of its own" in message
    assert path.read_bytes() == before


async def test_other_tables_may_live_beside_ours(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    alter(path, "CREATE TABLE articles (title TEXT)")
    async with opened(path) as store:
        await store.add([job()])
        assert [found.id for found in await store.query()] == ["job"]


async def test_newer_tables_are_left_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with opened(path) as store:
        await store.add([job()])
    alter(path, "UPDATE asyncsched_schema SET version = 99")
    alter(path, "PRAGMA journal_mode = DELETE")
    before = path.read_bytes()
    assert "version 99" in await _refusal(path, StoreSchemaError)
    assert path.read_bytes() == before


@pytest.mark.parametrize("statement", ["DELETE FROM asyncsched_schema", "UPDATE asyncsched_schema SET version = 'x'"])
async def test_unknown_version_is_refused(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "jobs.db"
    async with opened(path):
        pass
    alter(path, statement)
    assert "which version" in await _refusal(path, StoreSchemaError)


async def test_damaged_file_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with opened(path) as store:
        await store.add([job(f"job-{number}") for number in range(500)])
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)  # the header stays that of a database
    path.write_bytes(data)
    store = SQLiteJobStore(path)

    async def work() -> None:
        await store.open(context())
        await store.query()

    with pytest.raises((StoreSchemaError, StoreUnavailableError), match=r"jobs\.db.*damaged"):
        await work()
    await store.close()
    assert path.read_bytes() == bytes(data)


async def test_dropped_table_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with opened(path) as store:
        alter(path, "DROP TABLE runs")
        with pytest.raises(StoreSchemaError, match="no such table: runs"):
            await store.query_runs()


async def test_lock_held_for_too_long_is_reported_and_got_over(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with opened(path) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match="another process holds its lock"):
            await store.add([job()])
        assert await store.query() == []  # readers are not kept waiting
        other.execute("ROLLBACK")
        other.close()
        await store.add([job()])
        assert [found.id for found in await store.query()] == ["job"]


async def test_lock_held_at_opening_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with opened(path):
        pass
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert "lock" in await _refusal(path, StoreUnavailableError)
    other.close()


async def test_full_disk_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with opened(path) as store:
        await store.add([job("before")])
        thread: Any = store._thread
        session: Any = store._session
        await thread.run(lambda: session.connection.execute("PRAGMA max_page_count = 40").fetchall())
        with pytest.raises(StoreUnavailableError, match="make room"):
            await store.add([job(f"job-{number}", name="x" * 1000) for number in range(500)])
        assert [found.id for found in await store.query()] == ["before"]
        await thread.run(lambda: session.connection.execute("PRAGMA max_page_count = 1000000").fetchall())
        await store.add([job("after")])
        assert [found.id for found in await store.query()] == ["after", "before"]


async def test_vanished_file_is_not_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with opened(path) as store:
        await store.add([job()])
        path.rename(tmp_path / "elsewhere.db")
        for call in (store.add([job("lost")]), store.query(), store.next_wakeup(), store.get_run("x")):
            with pytest.raises(StoreUnavailableError, match="has vanished"):
                await call
        assert not path.exists()
        (tmp_path / "elsewhere.db").rename(path)
        assert [found.id for found in await store.query()] == ["job"]


async def test_replaced_file_is_not_written_past(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with opened(path) as store:
        await store.add([job()])
        copy = tmp_path / "copy.db"
        shutil.copy(path, copy)
        copy.replace(path)
        with pytest.raises(StoreUnavailableError, match="replaced by another"):
            await store.add([job("lost")])


_AS_AN_ORDINARY_USER = """
import os, sys, anyio
from tests.stores.sqlite_support import opened
from pathlib import Path

async def main():
    async with opened(Path(sys.argv[1])):
        pass

anyio.run(main)
Path(sys.argv[1]).chmod(0o444)
Path(sys.argv[1]).parent.chmod(0o555)
if os.geteuid() == 0:  # permissions do not bind the superuser
    os.setuid(65534)
anyio.run(main)
"""


@pytest.mark.skipif(os.name != "posix", reason="file permissions are those of POSIX")
def test_read_only_file_is_reported() -> None:
    with tempfile.TemporaryDirectory() as name:
        with start_python(_AS_AN_ORDINARY_USER, str(Path(name) / "jobs.db")) as process:
            errors = process.communicate(timeout=30)[1]
        Path(name).chmod(0o755)
    assert "StoreUnavailableError" in errors
    assert "permission" in errors or "may write there" in errors


async def test_closed_store_says_so(tmp_path: Path) -> None:
    store = SQLiteJobStore(tmp_path / "jobs.db")
    with pytest.raises(StoreUnavailableError, match="is not open"):
        await store.query()
    await store.open(context())
    with pytest.raises(SchedulerStateError, match="is open already"):
        await store.open(context())
    await store.close()
    with pytest.raises(StoreUnavailableError, match="is not open"):
        await store.next_wakeup()


@pytest.mark.parametrize("path", ["", ":memory:"])
def test_path_must_name_a_file(path: str) -> None:
    with pytest.raises(ConfigurationError, match="names no file"):
        SQLiteJobStore(path)


def test_synchronous_is_checked() -> None:
    wrong: Any = "full; DROP TABLE jobs"
    with pytest.raises(ConfigurationError, match="is not one of"):
        SQLiteJobStore("jobs.db", synchronous=wrong)


def test_label_is_the_url() -> None:
    assert SQLiteJobStore("jobs.db").label == "sqlite:///jobs.db"
    assert SQLiteJobStore("/var/jobs.db").label == "sqlite:////var/jobs.db"
