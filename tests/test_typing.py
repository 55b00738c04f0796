"""What a user's type checker infers: tests/typing/api.py, checked here by mypy and in `make types` by pyright too."""

from pathlib import Path
from typing import Final

from mypy import api

ROOT: Final = Path(__file__).parent.parent


def test_mypy_infers_what_a_user_expects() -> None:
    page = ROOT / "tests" / "typing" / "api.py"
    report, errors, status = api.run(["--config-file", str(ROOT / "pyproject.toml"), str(page)])
    assert status == 0, report + errors
