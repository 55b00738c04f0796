"""Every example program is run as its reader would run it."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

EXAMPLES: Final = Path(__file__).parent.parent / "examples"
STRICT: Final = (sys.executable, "-X", "dev", "-W", "error")
LIMIT_S: Final = 30


def output_of(folder: Path, program: str, *arguments: str) -> tuple[list[str], str]:
    command = [*STRICT, str(EXAMPLES / program), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_script_serves_until_a_signal_and_leaves_politely(tmp_path: Path, number: signal.Signals) -> None:
    command = [*STRICT, str(EXAMPLES / "script.py"), str(tmp_path / "jobs.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "polled\n"
        process.send_signal(number)
        assert process.wait(LIMIT_S) == 0
        assert process.stderr.read() == f"{number.name}: stopping\n"


def test_the_loop_survives_what_its_work_raises_and_keeps_the_account(tmp_path: Path) -> None:
    lines, log = output_of(tmp_path, "instead_of_a_loop.py")
    assert "OSError: the peer is away" in log
    assert "Warning" not in log
    assert lines[0].startswith("failed: ")
    assert "the peer is away" in lines[0]
    states = [line.split()[1] for line in lines[1:]]
    assert states.count("failed") == 1
    assert states.count("succeeded") >= 5
    assert states.index("failed") == 2


def test_the_trio_program_shows_both_sensors(tmp_path: Path) -> None:
    lines, log = output_of(tmp_path, "trio_app.py", str(tmp_path / "sensors.db"))
    assert log == ""
    assert {tuple(line.split()[1:]) for line in lines} == {("cellar", "8.5"), ("attic", "21.0")}


def test_there_is_no_example_that_nothing_runs() -> None:
    tests = [
        Path(__file__),
        *Path(__file__).parent.glob("test_demo.py"),
        *Path(__file__).parent.glob("integrations/*.py"),
    ]
    text = "".join(path.read_text(encoding="utf-8") for path in tests)
    assert [path.stem for path in EXAMPLES.glob("*.py") if path.stem not in text] == []
