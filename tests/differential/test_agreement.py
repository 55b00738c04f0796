"""Our triggers beside four other libraries, each asked in an environment of its own.

Every difference must be one that docs/cron-dialects.md lists with its reasons, and every listed one
must still be there. ``python -m tests.differential`` compares more than this suite does.
"""

import re
from pathlib import Path
from typing import Final

import pytest

from benchmarks.environments import prepare
from tests.differential.campaign import run
from tests.differential.disagreement import Example, asked, compare, shown
from tests.differential.known import KNOWN, known_of
from tests.differential.peers import PEERS, ask
from tests.differential.questions import Answer, Question, ask_ours, at

# The first test of all may have to make the environments.
pytestmark = pytest.mark.timeout(300)

PAGE: Final = Path(__file__).parent.parent.parent / "docs" / "cron-dialects.md"
SEED: Final = 20_250_330
COUNT: Final = 3000
TWENTY_YEARS: Final = 20 * 365 * 86_400


@pytest.fixture(scope="session", params=PEERS)
def peer(request: pytest.FixtureRequest) -> str:
    """The name of a library whose environment is there."""
    name: str = request.param
    try:
        prepare(name)
    except (RuntimeError, OSError) as error:
        pytest.fail(f"the environment of {name} cannot be made; the comparison needs a package index: {error}")
    return name


def test_every_difference_is_a_listed_disagreement(peer: str) -> None:
    campaign = run(peer, SEED, COUNT)
    assert not campaign.unexplained, "\n".join(campaign.unexplained[:20])
    # Most questions have an answer: what is refused or never fires compares little.
    assert campaign.answered > COUNT * 0.9


def is_like(expected: object, found: list[str] | str) -> bool:
    return expected in found if isinstance(expected, str) and isinstance(found, str) else expected == found


def test_every_listed_disagreement_is_still_there(peer: str) -> None:
    known = known_of(peer)
    answers = ask(peer, [each.example.question for each in known])
    for each, theirs in zip(known, answers, strict=True):
        example: Example = each.example
        assert is_like(example.ours, shown(example.question, ask_ours(example.question))), each.name
        assert is_like(example.theirs, shown(example.question, theirs)), each.name
        verdict = compare(example.question, theirs, known)
        if each.translate is not None or each.explains is not None:
            assert each.name in verdict.seen, each.name
            assert not verdict.unexplained, each.name
        else:
            assert verdict.unexplained, each.name


def test_the_guide_lists_the_disagreements() -> None:
    listed = re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert listed == [each.name for each in KNOWN]


def dialect_rows() -> list[tuple[str, list[str]]]:
    """The table of expressions in the guide: the expression, and one word for each library."""
    section = PAGE.read_text(encoding="utf-8").partition("## The dialects side by side")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \|[^|]*\|(.*)\|$", section, re.MULTILINE)
    return [(expression, [cell.strip() for cell in cells.split("|")]) for expression, cells in rows]


def test_the_guide_tells_the_dialects_apart(peer: str) -> None:
    rows = dialect_rows()
    assert len(rows) >= 15
    start = at("2025-01-01")
    questions = [Question(text=text, start=start, count=5, until=start + TWENTY_YEARS) for text, _ in rows]
    found = [
        "no" if theirs.refused else "yes" if theirs == ask_ours(question) else "other"
        for question, theirs in zip(questions, ask(peer, questions), strict=True)
    ]
    column = PEERS.index(peer)
    assert dict(zip([text for text, _ in rows], found, strict=True)) == {text: cells[column] for text, cells in rows}


@pytest.mark.parametrize("peer_name", PEERS)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_the_comparison_notices(peer_name: str, zone: str) -> None:
    question = asked("*/15 8 * * *", zone, "2025-06-01", count=10)
    right = ask_ours(question).instants
    wrong = {
        "missing": right[:3] + right[4:],
        "extra": (*right[:3], right[3] - 60, *right[3:-1]),
        "late": (*right[:3], right[3] + 60, *right[4:]),
        "twice": (*right[:3], right[2], *right[3:-1]),
    }
    known = known_of(peer_name)
    assert not compare(question, Answer(right), known).unexplained
    for what, instants in wrong.items():
        assert compare(question, Answer(instants), known).unexplained, what
    assert compare(question, Answer((), "no"), known).unexplained
