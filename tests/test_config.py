"""Store URLs, and what a configuration comes down to."""

import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsched.config import Settings, read_settings, redact, store_from_url
from asyncsched.errors import ConfigurationError
from asyncsched.executors import InlineExecutor, ThreadExecutor
from asyncsched.policy import JobDefaults, Limit, Retry
from asyncsched.stores.memory import MemoryJobStore
from asyncsched.stores.sqlite import SQLiteJobStore

SECRET = "hunter2"


# -- URLs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "kind", "label"),
    [
        ("memory://", MemoryJobStore, ""),
        ("sqlite:///jobs.db", SQLiteJobStore, "jobs.db"),
        ("sqlite:///data/jobs.db?synchronous=NORMAL", SQLiteJobStore, "data/jobs.db"),
        ("sqlite:////var/lib/jobs.db", SQLiteJobStore, "/var/lib/jobs.db"),
        ("sqlite:///a%20b%3F.db", SQLiteJobStore, "a b?.db"),
    ],
)
def test_a_url_names_a_store(url: str, kind: type, label: str) -> None:
    store = store_from_url(url)
    assert isinstance(store, kind)
    assert label in store.label


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("jobs.db", "does not begin with the scheme of a store; write memory://, sqlite:///relative.db"),
        ("", "does not begin with the scheme"),
        ("memory", "did you mean 'memory'"),
        ("sqlite:jobs.db", "did you mean 'sqlite'"),
        ("sqllite:///jobs.db", "did you mean 'sqlite'"),
        (f"postgrsql://u:{SECRET}@host/db", "did you mean 'postgresql'"),
        (f"postgresql+asyncpg://u:{SECRET}@host/db", "did you mean 'postgresql'"),
        (f"postgresql://u:{SECRET}@host/db?schema=Jobs", "schema='Jobs' is not the name of a schema"),
        (f"mysql://u:{SECRET}@host/db", "write memory://"),
        ("memory://jobs", "neither a path nor parameters"),
        ("sqlite://jobs.db", "write 'sqlite:///jobs.db'"),
        ("sqlite://", "write 'sqlite:///jobs.db'"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "'memory://' for a store without one"),
        ("sqlite:///a.db?path=b.db", "unknown key 'path' in the store URL"),
        (
            "sqlite:///a.db?synchronus=FULL",
            "unknown key 'synchronus' in the store URL 'sqlite:///a.db.*did you mean 'synchronous'",
        ),
    ],
)
def test_a_url_that_names_no_store_is_refused_without_its_password(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        store_from_url(url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("memory://", "memory://"),
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql://host:5432/db?schema=a", "postgresql://host:5432/db?schema=a"),
        ("postgresql://me:hunter2@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:hun@ter/2@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:hunt?er2@host/db", "postgresql://me:***@host/db"),
        ("postgresql://host/db?user=me&password=hunter2&a=1", "postgresql://host/db?user=me&password=***&a=1"),
        ("postgresql://host:5432/db?password=hunt@er2", "postgresql://***"),
        ("postgresql://me:hunter2@host/db?sslpassword=hunter2", "postgresql://me:***@host/db?sslpassword=***"),
        ("host=a password=hunter2 user=b", "host=a password=*** user=b"),
        ("host=a password = 'hun ter2' user=b", "host=a password = *** user=b"),
    ],
)
def test_redact(url: str, shown: str) -> None:
    assert redact(url) == shown


@given(st.text(min_size=4).map(lambda text: f"\x01{text}\x01"), st.sampled_from(["u", "a.b", ""]))
def test_no_password_of_any_kind_is_shown(password: str, user: str) -> None:
    assert password not in redact(f"postgresql://{user}:{password}@host/db?schema=a")


# -- the three forms ---------------------------------------------------------------------------

NESTED: Mapping[str, Any] = {
    "store": "sqlite:///jobs.db",
    "stores": {"scratch": {"type": "memory"}, "reports": {"type": "sqlite", "path": "reports.db"}},
    "executors": {"pool": {"type": "thread", "max_workers": 3}, "here": "inline"},
    "defaults": {
        "max_instances": 3,
        "overlap": "queue_one",
        "misfire_grace_time": 1.5,
        "coalesce": False,
        "jitter": [1, 2.5],
        "retry": {"max_attempts": 5, "delay": 0.5, "jitter": False},
        "timeout": 60,
        "keep_results": False,
    },
    "timezone": "Europe/Helsinki",
    "tasks": ["app.jobs", "app.mail:send"],
    "name": "worker",
    "max_concurrent_runs": 50,
    "shutdown_grace": 10,
    "lease": 15.5,
    "history": 3600,
    "start_paused": True,
}

DOTTED = {
    "store": "sqlite:///jobs.db",
    "stores.scratch.type": "memory",
    "stores.reports.type": "sqlite",
    "stores.reports.path": "reports.db",
    "executors.pool.type": "thread",
    "executors.pool.max_workers": "3",
    "executors.here.type": "inline",
    "defaults.max_instances": "3",
    "defaults.overlap": "queue_one",
    "defaults.misfire_grace_time": "1.5",
    "defaults.coalesce": "no",
    "defaults.jitter": "1, 2.5",
    "defaults.retry.max_attempts": "5",
    "defaults.retry.delay": "0.5",
    "defaults.retry.jitter": "off",
    "defaults.timeout": "60",
    "defaults.keep_results": "False",
    "timezone": "Europe/Helsinki",
    "tasks": "app.jobs, app.mail:send",
    "name": "worker",
    "max_concurrent_runs": " 50 ",
    "shutdown_grace": "10",
    "lease": "15.5",
    "history": "3600",
    "start_paused": "TRUE",
}

TOML = """
[other]
anything = 1

[asyncsched]
store = "sqlite:///jobs.db"
timezone = "Europe/Helsinki"
tasks = ["app.jobs", "app.mail:send"]
name = "worker"
max_concurrent_runs = 50
shutdown_grace = 10
lease = 15.5
history = 3600
start_paused = true
stores.scratch.type = "memory"
stores.reports = { type = "sqlite", path = "reports.db" }
executors.pool = { type = "thread", max_workers = 3 }
executors.here.type = "inline"

[asyncsched.defaults]
max_instances = 3
overlap = "queue_one"
misfire_grace_time = 1.5
coalesce = false
jitter = [1, 2.5]
retry = { max_attempts = 5, delay = 0.5, jitter = false }
timeout = 60
keep_results = false
"""


def check_all(settings: Settings) -> None:
    assert isinstance(settings.store, SQLiteJobStore)
    assert isinstance(settings.stores["scratch"], MemoryJobStore)
    assert isinstance(settings.stores["reports"], SQLiteJobStore)
    assert isinstance(settings.executors["pool"], ThreadExecutor)
    assert isinstance(settings.executors["here"], InlineExecutor)
    assert settings.defaults == JobDefaults(
        max_instances=3,
        overlap="queue_one",
        misfire_grace_time=1.5,
        coalesce=False,
        jitter=(1, 2.5),
        retry=Retry(max_attempts=5, delay=0.5, jitter=False),
        timeout=60,
        keep_results=False,
    )
    assert settings.timezone == ZoneInfo("Europe/Helsinki")
    assert settings.tasks == ("app.jobs", "app.mail:send")
    assert settings.name == "worker"
    assert settings.max_concurrent_runs == 50
    assert (settings.shutdown_grace, settings.lease, settings.history) == (10, 15.5, 3600)
    assert settings.start_paused is True


def test_a_nested_mapping() -> None:
    check_all(read_settings(NESTED))
    check_all(read_settings({"asyncsched": NESTED, "other": 1}))


def test_flat_dotted_keys_with_and_without_the_prefix() -> None:
    check_all(read_settings(DOTTED))
    check_all(read_settings({f"asyncsched.{key}": value for key, value in DOTTED.items()}))


def test_a_toml_file(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.toml"
    file.write_text(TOML)
    check_all(read_settings(file))
    check_all(read_settings(str(file)))
    file.write_text('name = "a"\nhistory = "none"\n')
    assert read_settings(file) == Settings(name="a", history=None)


def test_nothing_said_is_the_defaults() -> None:
    assert read_settings({}) == Settings()
    assert read_settings({}).as_keywords() == {
        "store": None,
        "stores": {},
        "executors": {},
        "defaults": JobDefaults(),
        "timezone": None,
        "tasks": (),
        "limits": (),
        "name": None,
        "max_concurrent_runs": 1000,
        "shutdown_grace": 30,
        "lease": 30,
        "history": timedelta(days=7),
        "start_paused": False,
    }


def test_nothing_can_be_said_in_words() -> None:
    settings = read_settings({"defaults.max_instances": "None", "defaults.retry": "none", "shutdown_grace": ""})
    assert settings == Settings(defaults=JobDefaults(max_instances=None, retry=None), shutdown_grace=None)


def test_objects_are_taken_as_they_are() -> None:
    store, executor, zone, retry = MemoryJobStore(), InlineExecutor(), ZoneInfo("Asia/Tokyo"), Retry(delay=2)
    settings = read_settings(
        {
            "stores": {"default": store},
            "executors": {"here": executor},
            "timezone": zone,
            "defaults": JobDefaults(retry=retry),
            "lease": timedelta(minutes=1),
            "tasks": [len],
        }
    )
    assert settings.store is store
    assert settings.stores == {}
    assert settings.executors["here"] is executor
    assert settings.timezone is zone
    assert settings.defaults.retry is retry
    assert settings.tasks == (len,)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"jobstores": {}}, "unknown key 'jobstores'; did you mean .*'stores'"),
        ({"job_defaults": {}}, "unknown key 'job_defaults'; did you mean 'defaults'"),
        ({"zzz": 1}, "unknown key 'zzz'; known are store, stores, executors"),
        ({"defaults": {"max_instnces": 1}}, "unknown key 'max_instnces' in defaults; did you mean 'max_instances'"),
        ({"defaults.retry.on": "OSError"}, "unknown key 'on' in defaults.retry; .*known are max_attempts"),
        ({"stores.a.type": "sqlite", "stores.a.file": "x"}, "unknown key 'file' in stores.a"),
        ({"stores.a.type": "sqlite"}, "stores.a names no file"),
        ({"stores.a.type": "redis"}, "stores.a.type = 'redis' is not understood; expected one of 'memory', 'sqlite'"),
        ({"stores.a": {}}, "stores.a.type = None is not understood"),
        ({"stores.a": {"type": "memory", "path": "x"}}, "unknown key 'path' in stores.a; none is known there"),
        ({"stores.a": {"url": "memory://", "path": "x"}}, "unknown key 'path' in stores.a"),
        ({"stores": "memory://"}, "stores = 'memory://' is not understood; expected a table"),
        ({"store": 5}, "store = 5 is not understood; expected a URL"),
        ({"store": "memory://", "stores.default": "memory://"}, "both name the default store"),
        ({"executors.a": 5}, "executors.a = 5 is not understood"),
        ({"executors.a": "threads"}, "executors.a.type = 'threads' .*did you mean 'thread'"),
        ({"executors.a": {"type": "async", "max_workers": 2}}, "unknown key 'max_workers' in executors.a"),
        (
            {"executors.a": {"type": "thread", "max_workers": "two"}},
            "executors.a.max_workers = 'two' .* a whole number",
        ),
        ({"max_concurrent_runs": True}, "max_concurrent_runs = True is not understood; expected a whole number"),
        ({"max_concurrent_runs": 1.5}, "max_concurrent_runs = 1.5"),
        ({"max_concurrent_runs": "9" * 5000}, "max_concurrent_runs = '999"),
        ({"lease": "soon"}, "lease = 'soon' is not understood; expected a number of seconds"),
        ({"lease": None}, "lease = None is not understood"),
        ({"start_paused": "maybe"}, "start_paused = 'maybe' is not understood; expected true or false"),
        ({"start_paused": 1}, "start_paused = 1"),
        ({"name": 5}, "name = 5 is not understood; expected text"),
        ({"timezone": "Europe/Helsinky"}, "timezone = 'Europe/Helsinky' .* such as 'Europe/Helsinki'"),
        ({"tasks": 5}, "tasks = 5 is not understood; expected a list"),
        ({"defaults": 5}, "defaults = 5 is not understood; expected a table with keys such as"),
        ({"defaults.overlap": "quue_one"}, "defaults.overlap = 'quue_one' .*did you mean 'queue_one"),
        ({"defaults.coalesce": "newest"}, "defaults.coalesce = 'newest' .* one of 'latest', 'earliest', 'all'"),
        ({"defaults.jitter": [1, 2, 3]}, r"defaults.jitter = \[1, 2, 3\] .* or two"),
        ({"defaults.lease": 1, "defaults": 5}, "defaults is given twice|lies within defaults"),
        ({"defaults": 5, "defaults.lease": 1}, "defaults.lease lies within defaults, which has a value"),
        ({"name": "a", "asyncsched.name": "b", "asyncsched": {"name": "c"}}, "asyncsched.name is given twice"),
        ({"store": f"postgresq://u:{SECRET}@h/d"}, r"u:\*\*\*@h"),
        ({"stores.a": {"type": "postgresql"}}, "stores.a names no database"),
        ({"stores.a": {"type": "postgresql", "dsn": "postgresql://h/d", "shema": "x"}}, "did you mean 'schema'"),
        ({"name": "x", "lease": f"postgresql://u:{SECRET}@h/d"}, r"lease = 'postgresql://u:\*\*\*@h/d'"),
        ({"stores.a": {"type": f"postgresql://u:{SECRET}@h/d"}}, r"stores.a.type = 'postgresql://u:\*\*\*@h/d'"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_place(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        read_settings(config)
    assert SECRET not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere.toml.* cannot be read: No such file"):
        read_settings(tmp_path / "nowhere.toml")
    (tmp_path / "bad.toml").write_text("a = = 1")
    with pytest.raises(ConfigurationError, match=r"bad.toml.* is not TOML: .*line 1"):
        read_settings(tmp_path / "bad.toml")
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match=r"is not TOML"):
        read_settings(tmp_path / "bad.toml")


def test_loading_the_module_loads_neither_drivers_nor_parsers() -> None:
    code = (
        "import sys, types; package = types.ModuleType('asyncsched'); package.__path__ = ['asyncsched']; "
        "sys.modules['asyncsched'] = package; before = set(sys.modules); import asyncsched.config, asyncsched.tasks; "
        "print([name for name in ('tomllib', 'aiosqlite', 'sqlite3', 'multiprocessing', 'urllib.request',"
        " 'asyncsched.stores.sqlite', 'concurrent.futures.process') if name in sys.modules and name not in before])"
    )
    root = Path(__file__).parent.parent
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert found.stdout.strip() == "[]"


def test_a_postgresql_store_by_its_parts_or_by_its_url() -> None:
    config = {"stores.a": {"type": "postgresql", "dsn": f"postgresql://u:{SECRET}@h/d", "schema": "jobs"}}
    assert read_settings(config).stores["a"].label == "postgresql://u:***@h/d?schema=jobs"
    by_url = read_settings({"store": f"postgresql://u:{SECRET}@h/d?schema=jobs&pool_size=2&sslmode=require"}).store
    assert by_url is not None
    assert by_url.label == "postgresql://u:***@h/d?sslmode=require&schema=jobs"
    assert SECRET not in repr(by_url)


def test_limits_are_a_table_or_a_list() -> None:
    table = {"stripe": {"concurrency": 5, "rate": [60, 60.0]}, "tenant": {"concurrency": "1", "key": "{tenant}"}}
    limits = (Limit("stripe", concurrency=5, rate=(60, 60.0)), Limit("tenant", concurrency=1, key="{tenant}"))
    assert read_settings({"limits": table}).limits == limits
    assert read_settings({"limits.stripe.concurrency": 5, "limits.stripe.rate": [60, 60]}).limits == limits[:1]
    assert read_settings({"limits": list(limits)}).limits == limits
    for wrong, message in (
        ({"limits": {"stripe": {"rate": 5}}}, "limits.stripe.rate = 5 is not understood"),
        ({"limits": {"stripe": {"concurrency": 0}}}, "limits.stripe: .*concurrency=0"),
        ({"limits": {"a b": {"concurrency": 1}}}, "a name has 1 to 63 letters"),
        ({"limits": ["stripe"]}, "a list of Limit objects"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            read_settings(wrong)
