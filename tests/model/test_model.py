"""Whatever is done to stores in whatever order, they agree with each other and with what was promised.

`python -m tests.model` goes on for longer.
"""

import asyncio

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import StoreMachine
from tests.model.sides import ALL

_EVERY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("stores", "examples", "steps"), [(ALL[:1], 60, 50), (ALL, 12, 40)], ids=["memory", "all three"]
)
def test_every_due_instant_gets_one_verdict(stores: tuple[str, ...], examples: int, steps: int) -> None:
    class Machine(StoreMachine):
        pass

    with asyncio.Runner() as runner:
        Machine.stores, Machine.runner = stores, runner
        run_state_machine_as_test(Machine, settings=settings(_EVERY, max_examples=examples, stateful_step_count=steps))
