"""The tables of a PostgreSQL store: recognised, made, migrated.

Each migration is a file ``schema/postgres_NNNN.sql`` that is applied once, in order. All that are
missing are applied in one transaction that holds a lock, so that nodes which start at once do it
once, and whoever is killed in the middle leaves what was there.
"""

# ruff: noqa: S608 - the schema's name is checked, and every value is bound

from functools import cache
from hashlib import blake2b
from importlib import resources
from typing import Final

from asyncsched.errors import StoreSchemaError
from asyncsched.stores.postgres_transaction import Transaction

__all__ = ["LATEST", "MIGRATED_ROWS", "is_prepared", "prepare"]

LATEST: Final = 2
"""The version of the tables that this code works with."""

MIGRATED_ROWS: Final = 1_000_000
"""How many rows a migration is given the time for: indexes are made anew."""

_VERSION_TABLE: Final = "asyncsched_schema"
_TABLES: Final = ("jobs", "definitions", "runs", "nodes", "limits", "buckets")
_HAS_SCHEMA: Final = "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)"
_HAS: Final = (
    "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = $1 AND c.relname = ANY($2::text[])"
)
_LOCK: Final = "SELECT pg_advisory_xact_lock($1)"


async def is_prepared(transaction: Transaction, schema: str) -> bool:
    """Tell whether the tables are of the latest version, as nearly always.

    Raises:
        StoreSchemaError: they are of a newer version, or belong to someone else.
    """
    return await _version(transaction, schema) == LATEST


async def prepare(transaction: Transaction, schema: str) -> None:
    """Bring the tables to the latest version, if they are ours or there is room for them.

    Raises:
        StoreSchemaError: they are of a newer version, or belong to someone else; nothing was changed.
    """
    await transaction.rows(_LOCK, int.from_bytes(blake2b(schema.encode(), digest_size=8).digest(), signed=True))
    version = await _version(transaction, schema)
    if version == LATEST:
        return
    if not await transaction.value(_HAS_SCHEMA, schema):
        await transaction.run(f'CREATE SCHEMA "{schema}"')
    for step in range(version + 1, LATEST + 1):
        await transaction.run(_script(step))
    if version == 0:
        await transaction.run(f"CREATE TABLE SCHEMA.{_VERSION_TABLE} (version integer NOT NULL)")
        await transaction.run(f"INSERT INTO SCHEMA.{_VERSION_TABLE} VALUES ({LATEST})")
    else:
        await transaction.run(f"UPDATE SCHEMA.{_VERSION_TABLE} SET version = {LATEST}")


async def _version(transaction: Transaction, schema: str) -> int:
    """Return the version of the tables, 0 for none."""
    tables = {row[0] for row in await transaction.rows(_HAS, schema, [_VERSION_TABLE, *_TABLES])}
    if _VERSION_TABLE not in tables:
        if tables:
            raise StoreSchemaError(
                f"the schema {schema!r} has tables {sorted(tables)} that are not asyncsched's; nothing was changed; "
                "give the job store a schema of its own"
            )
        return 0
    rows = await transaction.rows(f"SELECT version FROM SCHEMA.{_VERSION_TABLE}")
    version = rows[0][0] if len(rows) == 1 else None
    if not isinstance(version, int) or version < 1:
        raise StoreSchemaError(f"the schema {schema!r} does not say which version its tables have: {rows!r:.100}")
    if version > LATEST:
        raise StoreSchemaError(
            f"the tables in schema {schema!r} have version {version}, and this asyncsched knows them up to {LATEST}; "
            "nothing was changed; upgrade asyncsched, or name another schema"
        )
    return version


@cache
def _script(step: int) -> str:
    return resources.files("asyncsched.stores").joinpath(f"schema/postgres_{step:04}.sql").read_text("utf-8")
