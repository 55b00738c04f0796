"""An environment of its own for each system, under ``.bench/``, made again when its requirements change."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

__all__ = ["REQUIREMENTS", "ROOT", "prepare", "versions"]

ROOT: Final = Path(__file__).resolve().parent.parent
_HOME: Final = ROOT / ".bench"

_ON_SERVER: Final = ("asyncpg>=0.31", "psycopg[binary]>=3.2,<4")
"""What a worker asks a PostgreSQL server with, whatever the system in it does."""

REQUIREMENTS: Final[Mapping[str, Sequence[str]]] = {
    "floor": _ON_SERVER,
    "asyncsched": ("-e", f"{ROOT}[postgres,uvloop]", "trio>=0.30", *_ON_SERVER),
    "apscheduler3": ("apscheduler>=3.11,<3.12", "sqlalchemy>=2,<3", *_ON_SERVER),
    # Its SQL store imports sniffio, which anyio no longer brings along.
    "apscheduler4": ("apscheduler==4.0.0a6", "sqlalchemy[asyncio]>=2,<3", "aiosqlite", "sniffio", *_ON_SERVER),
    "pgqueuer": ("pgqueuer[asyncpg]>=1.6,<1.7", *_ON_SERVER),
    "procrastinate": ("procrastinate>=3.10,<3.11", *_ON_SERVER),
    # tests/differential holds ours against what these releases answer.
    "croniter": ("croniter>=7,<7.1",),
    "cronsim": ("cronsim>=2.8,<2.9",),
}
"""Name of an environment -> what the package installer is asked for."""


def _python(environment: str) -> Path:
    folder = _HOME / environment
    return folder / "Scripts" / "python.exe" if sys.platform == "win32" else folder / "bin" / "python"


def _run(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        message = f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}"
        raise RuntimeError(message)


def _make(environment: str) -> None:
    """Make it with uv where that is there and works, and with venv and pip otherwise."""
    _HOME.mkdir(exist_ok=True)
    failures = list[str]()
    for way in (_with_uv, _with_pip):
        shutil.rmtree(_HOME / environment, ignore_errors=True)
        try:
            way(environment)
        except (RuntimeError, OSError) as error:
            failures.append(str(error))
        else:
            return
    raise RuntimeError("\n".join(failures))


def _with_uv(environment: str) -> None:
    uv, asked = shutil.which("uv") or "uv", REQUIREMENTS[environment]
    _run(uv, "venv", "--quiet", "--python", sys.executable, _HOME / environment)
    if asked:
        _run(uv, "pip", "install", "--quiet", "--python", _python(environment), *asked)


def _with_pip(environment: str) -> None:
    base, asked = Path(getattr(sys, "_base_executable", None) or sys.executable), REQUIREMENTS[environment]
    try:
        _run(base, "-m", "venv", _HOME / environment)
    except RuntimeError:  # an interpreter that cannot seed pip into an environment
        _run(base, "-m", "venv", "--clear", "--without-pip", _HOME / environment)
    if not asked:
        return
    install = ("install", "--quiet", "--disable-pip-version-check", *asked)
    try:
        _run(_python(environment), "-m", "pip", *install)
    except RuntimeError:
        _run(base, "-m", "pip", "--python", _python(environment), *install)


def prepare(environment: str) -> Path:
    """Make the environment unless it is there already, and return its interpreter."""
    stamp = _HOME / environment / "made-for.json"
    wanted = json.dumps([sys.version, *REQUIREMENTS[environment]])
    if not stamp.exists() or stamp.read_text() != wanted:
        _make(environment)
        stamp.write_text(wanted)
    return _python(environment)


def versions(environment: str) -> dict[str, str]:
    """Return the version of everything that is installed in an environment."""
    command = [str(_python(environment)), "-m", "benchmarks.worker", "--versions"]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found: dict[str, str] = json.loads(printed)
    return found
