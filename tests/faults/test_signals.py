"""SIGINT and SIGTERM in `Scheduler.run`: drained, cut short, never hanging, without a traceback."""

import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.processes import program, wait_for_line

if TYPE_CHECKING:
    import subprocess

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def _end(process: "subprocess.Popen[str]") -> tuple[int, list[str], str]:
    out, err = process.communicate(timeout=25)
    return process.returncode, out.splitlines(), err


@backends
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_lets_running_jobs_end(backend: str, number: signal.Signals) -> None:
    with program("serving.py", backend, "patient", 30) as process:
        wait_for_line(process, "started")
        process.send_signal(number)
        assert _end(process) == (0, ["ended", "abandoned 0", "stopped"], "")


@backends
def test_a_second_signal_cuts_the_grace_short(backend: str) -> None:
    with program("serving.py", backend, "endless", 600) as process:
        wait_for_line(process, "started")
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)  # two signals at once would be one
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert _end(process) == (0, ["cancelled", "abandoned 0", "stopped"], "")


@backends
def test_the_grace_ends_a_job_that_does_not(backend: str) -> None:
    with program("serving.py", backend, "endless", 0.1) as process:
        wait_for_line(process, "started")
        process.send_signal(signal.SIGTERM)
        assert _end(process) == (0, ["cancelled", "abandoned 0", "stopped"], "")


def test_what_ignores_its_cancellation_is_reported_and_the_interpreter_exits() -> None:
    cases = [("asyncio", "stubborn"), ("trio", "stubborn"), ("asyncio", "thread"), ("trio", "thread")]
    ends: dict[tuple[str, str], Any] = {}
    with (
        program("serving.py", *cases[0], 0.1) as first,
        program("serving.py", *cases[1], 0.1) as second,
        program("serving.py", *cases[2], 0.1) as third,
        program("serving.py", *cases[3], 0.1) as fourth,
    ):
        processes = dict(zip(cases, (first, second, third, fourth), strict=True))
        for process in processes.values():
            wait_for_line(process, "started")
            process.send_signal(signal.SIGTERM)
        for case, process in processes.items():
            ends[case] = _end(process)
    for (_backend, job), (code, lines, errors) in ends.items():
        assert code == 0, errors
        assert lines == ["abandoned 0", "stopped"]
        assert ("ended by force" if job == "stubborn" else "1 threads are still busy") in errors
        assert "Traceback" not in errors
