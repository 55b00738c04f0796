"""What RELIABILITY.md says is tried by a test is tried by a test of that name."""

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
PAGE: Final = (ROOT / "RELIABILITY.md").read_text(encoding="utf-8")
NAMED: Final = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))
COMMANDS: Final = sorted(set(re.findall(r"python -m (tests(?:\.\w+)+)", PAGE)))


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_is_named_is_there(file: str, name: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    assert not name or re.search(rf"^(?:async )?def {name}\(", text, re.MULTILINE), f"{file} has no test {name}"


@pytest.mark.parametrize("module", COMMANDS)
def test_a_command_that_is_named_is_there(module: str) -> None:
    place = ROOT.joinpath(*module.split("."))
    assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file()


def test_there_is_something_to_look_up() -> None:
    assert len(NAMED) > 30
    assert COMMANDS
