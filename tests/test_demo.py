"""The demo, for real: on both loops, with its kill, its recovery and its account of every instant."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

DEMO: Final = Path(__file__).parent.parent / "examples" / "demo.py"
ROW: Final = re.compile(r"^(?P<job>\w[\w ]*?)\s+(?P<counts>\d+(?:\s+\d+){5})(?:   (?P<why>.*))?$", re.MULTILINE)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_demo_kills_recovers_and_accounts_for_every_instant(backend: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", str(DEMO), "--quick", "--backend", backend],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    events, _, account = done.stdout.partition("=== the ledger")
    before, _, afterwards = events.partition("=== killed with SIGKILL")
    digests = re.findall(r"(JobSubmitted|JobExecuted) +digest", before)
    assert digests.count("JobSubmitted") > digests.count("JobExecuted"), "the kill hit no run under way"
    assert re.search(r"JobSubmitted +digest .*attempt 2$", afterwards, re.MULTILINE)
    assert "\x1b" not in done.stdout
    rows = {row["job"]: [int(word) for word in row["counts"].split()] for row in ROW.finditer(account)}
    assert set(rows) == {"count", "digest", "greet early", "greet late", "greet while dead", "rotate"}
    for due, ran, not_run, _, without, twice in rows.values():
        assert (due, without, twice) == (ran + not_run, 0, 0)
    assert rows["digest"][3] == 1
    assert rows["greet while dead"][:2] == [1, 1]
    assert "nothing lost, nothing twice, nobody left behind" in account
