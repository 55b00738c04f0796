"""Scripts that have broken an invariant once; the suite runs them for ever."""

from pathlib import Path
from typing import Final

import msgspec

from tests.simulation.script import Script

__all__ = ["FOLDER", "STILL_BROKEN", "kept_scripts"]

FOLDER: Final = Path(__file__).parent / "regressions"

STILL_BROKEN: Final[dict[str, str]] = {}
"""Those that break an invariant as yet, and which: an entry goes when the cause does."""


def kept_scripts() -> dict[str, Script]:
    """Return every script that is kept, by the name of its file."""
    return {path.stem: msgspec.json.decode(path.read_bytes(), type=Script) for path in sorted(FOLDER.glob("*.json"))}
