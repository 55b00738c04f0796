"""The conformance suite of job stores: every sentence of `asyncsched.stores.base`, tried out.

The checks look at what a store says of itself (`persistent`, `shared`), never at its class. They
set the context's clock by hand; a store that has a clock of its own is waited for instead, which
takes a few seconds over the whole suite.

    @pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
    async def test_contract(check):
        await check(open_my_store)
"""

from collections.abc import Sequence
from typing import Final

from asyncsched.testing.store_suite_asking import ASKING_CHECKS
from asyncsched.testing.store_suite_cluster import CLUSTER_CHECKS
from asyncsched.testing.store_suite_completing import COMPLETING_CHECKS
from asyncsched.testing.store_suite_firing import FIRING_CHECKS
from asyncsched.testing.store_suite_jobs import JOB_CHECKS
from asyncsched.testing.store_suite_ledger import LEDGER_CHECKS
from asyncsched.testing.store_suite_limits import LIMIT_CHECKS
from asyncsched.testing.store_suite_runs import RUN_CHECKS
from asyncsched.testing.store_suite_trial import Check, ManualClock, OpenStore
from asyncsched.testing.store_suite_waiting import WAITING_CHECKS

__all__ = ["STORE_CHECKS", "Check", "ManualClock", "OpenStore", "check_store"]

STORE_CHECKS: Final[Sequence[Check]] = (
    *JOB_CHECKS,
    *FIRING_CHECKS,
    *RUN_CHECKS,
    *WAITING_CHECKS,
    *LIMIT_CHECKS,
    *COMPLETING_CHECKS,
    *ASKING_CHECKS,
    *LEDGER_CHECKS,
    *CLUSTER_CHECKS,
)
"""Every check, to be run one by one; each opens a store of its own."""


async def check_store(open_store: OpenStore) -> None:
    """Run every check, one after the other.

    Args:
        open_store: called with a `StoreContext`; an async context manager that yields a fresh,
            empty store, opened with that context, and closes it on leaving.

    Raises:
        AssertionError: the store broke its contract; the note names the check.
    """
    for check in STORE_CHECKS:
        try:
            await check(open_store)
        except BaseException as error:
            error.add_note(f"in the store check {getattr(check, '__name__', check)!r}")
            raise
