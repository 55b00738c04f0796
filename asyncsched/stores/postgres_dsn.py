"""Where a PostgreSQL store is: what its connection string says, checked before anything is opened."""

import re
from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit, urlunsplit

from asyncsched.errors import ConfigurationError
from asyncsched.stores.redaction import redact

__all__ = ["POOL_SIZE", "SCHEMA", "Place", "read_place"]

SCHEMA: Final = "asyncsched"
POOL_SIZE: Final = 4

_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_HOST: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:\d{0,5})?", re.ASCII)
_SCHEMES: Final = ("postgresql", "postgres")
_OURS: Final = ("schema", "pool_size")


class Place(NamedTuple):
    """A connection string for the driver, the schema of the tables, how many connections, and what people see."""

    dsn: str
    schema: str
    pool_size: int
    label: str


def read_place(dsn: object, schema: object, pool_size: object) -> Place:
    """Check the parameters of a store; where they are the usual ones, those in the URL count.

    Raises:
        ConfigurationError: one is not understood; no password is repeated.
    """
    if not isinstance(dsn, str) or not dsn.startswith(tuple(f"{scheme}://" for scheme in _SCHEMES)):
        shown = repr(redact(dsn)) if isinstance(dsn, str) else f"of type {type(dsn).__name__}"
        raise ConfigurationError(f"the dsn {shown} is not understood; write 'postgresql://user@host/database'")
    parts = _split(dsn)
    options = parse_qsl(parts.query, keep_blank_values=True)
    own = {key: value for key, value in options if key in _OURS}
    rest = "&".join(f"{quote(key, safe='')}={quote(value, safe='/')}" for key, value in options if key not in _OURS)
    name = own.get("schema", SCHEMA) if schema == SCHEMA else schema
    size = own.get("pool_size", POOL_SIZE) if pool_size == POOL_SIZE else pool_size
    checked = _schema(name)
    bare = urlunsplit(parts._replace(query=rest))
    separator = "&" if rest else "?"
    return Place(bare, checked, _size(size), f"{redact(bare)}{separator}schema={checked}")


def _split(dsn: str) -> SplitResult:
    """Split a URL, unless one part of it would be taken for another, and shown."""
    try:
        parts = urlsplit(dsn)
    except ValueError:  # its text may show a part of the password
        parts = None
    if parts is None or not _is_sound(parts):
        raise ConfigurationError(
            f"the dsn {redact(dsn)!r} is not understood; write 'postgresql://user:password@host:port/database', "
            "and what stands in a password other than letters and digits percent-encoded, such as %40 for '@'"
        )
    return parts


def _is_sound(parts: SplitResult) -> bool:
    account, at, hosts = parts.netloc.rpartition("@")
    return (
        not parts.fragment
        and "@" not in account + parts.path
        and (bool(at) or "@" not in parts.query)
        and all(_HOST.fullmatch(host) for host in hosts.split(","))
        and parts.netloc.isprintable()
    )


def _schema(name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"schema={name!r:.100} is not the name of a schema; give small letters, digits and underscores, "
            "not beginning with a digit, at most 63"
        )
    if name.startswith("pg_"):
        raise ConfigurationError(f"schema={name!r} is reserved: names that begin with 'pg_' are PostgreSQL's own")
    return name


def _size(size: object) -> int:
    if isinstance(size, str) and size.isascii() and size.isdigit():
        size = int(size)
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ConfigurationError(f"pool_size={size!r:.100} must be an int of at least 1")
    return size
