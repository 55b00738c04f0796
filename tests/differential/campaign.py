"""Many random questions to one library, and what came of them."""

from collections import Counter
from dataclasses import dataclass
from random import Random

from tests.differential.disagreement import Difference, compare, shown
from tests.differential.drawing import draw
from tests.differential.known import known_of
from tests.differential.peers import ask
from tests.differential.questions import Answer, Question, ask_ours

__all__ = ["Campaign", "run"]


@dataclass(frozen=True)
class Campaign:
    """How many questions a library was asked, which disagreements showed how often, and what none explains."""

    asked: int
    answered: int
    seen: Counter[str]
    unexplained: tuple[str, ...]


def _account(question: Question, theirs: Answer, differences: tuple[Difference, ...]) -> str:
    sides = ", ".join(dict.fromkeys(difference.side for difference in differences))
    translated = differences[0].question
    return (
        f"{question}: {sides}\n"
        f"  ours   {shown(question, ask_ours(question))}\n"
        f"  theirs {shown(question, theirs)}\n"
        f"  ours, asked in translation ({translated.text or dict(translated.fields)}, gap={translated.gap}, "
        f"fold={translated.fold}) {shown(question, differences[0].ours)}"
    )


def run(peer: str, seed: int, count: int) -> Campaign:
    """Ask a library so many questions and compare each answer with ours."""
    questions = draw(peer, Random(seed), count)
    known, seen, unexplained, answered = known_of(peer), Counter[str](), list[str](), 0
    for question, theirs in zip(questions, ask(peer, questions), strict=True):
        verdict = compare(question, theirs, known)
        seen.update(verdict.seen)
        answered += bool(theirs.instants)
        if verdict.unexplained:
            unexplained.append(_account(question, theirs, verdict.unexplained))
    return Campaign(count, answered, seen, tuple(unexplained))
