"""Executors: where the attempts of runs execute."""

from asyncsched.executors.base import Call, Executor
from asyncsched.executors.coroutine import AsyncExecutor
from asyncsched.executors.inline import InlineExecutor
from asyncsched.executors.process import ProcessExecutor, WorkerDiedError
from asyncsched.executors.thread import ThreadExecutor

__all__ = [
    "AsyncExecutor",
    "Call",
    "Executor",
    "InlineExecutor",
    "ProcessExecutor",
    "ThreadExecutor",
    "WorkerDiedError",
]
