"""Whatever is done to stores in whatever order, they agree with each other and with what was promised.

The histories are the same each time; `python -m tests.model` draws others, and goes on for longer.
"""

import asyncio

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import StoreMachine
from tests.model.sides import ALL

_EVERY = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.timeout(300)  # most of it for making a history small that breaks something
@pytest.mark.parametrize(
    ("stores", "examples", "steps"), [(ALL[:1], 60, 50), (ALL, 12, 40)], ids=["memory", "all three"]
)
def test_every_due_instant_gets_one_verdict(stores: tuple[str, ...], examples: int, steps: int) -> None:
    class Machine(StoreMachine):
        pass

    with asyncio.Runner() as runner:
        Machine.stores, Machine.runner = stores, runner
        run_state_machine_as_test(Machine, settings=settings(_EVERY, max_examples=examples, stateful_step_count=steps))
