"""Triggers: pure values that say at which instants a job is due."""

from asyncsched.triggers.alias import trigger_from_alias
from asyncsched.triggers.base import Jitter, LintWarning, Trigger, register_trigger, trigger_from_dict
from asyncsched.triggers.cron.trigger import CronTrigger, cron
from asyncsched.triggers.date import DateTrigger, DelayTrigger, after, at
from asyncsched.triggers.interval import IntervalTrigger, every

__all__ = [
    "CronTrigger",
    "DateTrigger",
    "DelayTrigger",
    "IntervalTrigger",
    "Jitter",
    "LintWarning",
    "Trigger",
    "after",
    "at",
    "cron",
    "every",
    "register_trigger",
    "trigger_from_alias",
    "trigger_from_dict",
]
