"""For tests of programs that use asyncsched, and for tests of stores and triggers of one's own."""

from asyncsched.testing.asserting import assert_fires
from asyncsched.testing.clock import VirtualClock
from asyncsched.testing.failing import InjectedFailure, injected_failure
from asyncsched.testing.faults import FaultyStore
from asyncsched.testing.pending import run_pending
from asyncsched.testing.recorder import EventLog, record_events
from asyncsched.testing.store_suite import STORE_CHECKS, check_store
from asyncsched.testing.trigger_laws import check_trigger

__all__ = [
    "STORE_CHECKS",
    "EventLog",
    "FaultyStore",
    "InjectedFailure",
    "VirtualClock",
    "assert_fires",
    "check_store",
    "check_trigger",
    "injected_failure",
    "record_events",
    "run_pending",
]
