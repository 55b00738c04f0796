"""The libraries that ours is compared with, each asked in a process and an environment of its own."""

import json
import os
import subprocess
import zoneinfo
from collections.abc import Sequence
from importlib.resources import as_file, files
from typing import Final

from benchmarks.environments import ROOT, prepare
from tests.differential.questions import Answer, Question

__all__ = ["PEERS", "ask"]

PEERS: Final = ("croniter", "cronsim", "apscheduler3", "apscheduler4")
"""Names of environments in `benchmarks.environments`, and the ends of the names of the modules in `workers`."""

_LIMIT_S: Final = 600.0


def _environment() -> dict[str, str]:
    """Ours, with the zone data that ours reads: two releases of it would differ by more than the libraries do."""
    with as_file(files("tzdata") / "zoneinfo") as packaged:
        path = os.pathsep.join([*zoneinfo.TZPATH, str(packaged)])
    return {**os.environ, "PYTHONTZPATH": path, "TZ": "UTC"}


def ask(peer: str, questions: Sequence[Question]) -> list[Answer]:
    """Ask a library all questions at once.

    Raises:
        RuntimeError: its environment cannot be made, or its worker ended early.
    """
    try:
        interpreter = prepare(peer)
    except (RuntimeError, OSError) as error:
        message = (
            f"the environment of {peer} cannot be made; the comparison needs a package index within reach\n{error}"
        )
        raise RuntimeError(message) from error
    lines = "".join(json.dumps(question.to_json()) + "\n" for question in questions)
    done = subprocess.run(
        [str(interpreter), "-m", f"tests.differential.workers.ask_{peer}"],
        cwd=ROOT,
        env=_environment(),
        input=lines,
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode != 0 or len(answers) != len(questions):
        message = f"the worker of {peer} answered {len(answers)} of {len(questions)} questions:\n{done.stderr}"
        raise RuntimeError(message)
    return [Answer(tuple(answer["instants"]), answer.get("error")) for answer in answers]
