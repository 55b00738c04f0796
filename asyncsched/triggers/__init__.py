"""Triggers: pure values that say at which instants a job is due; calendars: sets of days that they keep to."""

from asyncsched.triggers.alias import trigger_from_alias
from asyncsched.triggers.base import Jitter, LintWarning, Trigger, register_trigger, trigger_from_dict
from asyncsched.triggers.calendar_interval import CalendarIntervalTrigger
from asyncsched.triggers.calendars import (
    Calendar,
    DateCalendar,
    WeekdayCalendar,
    business_days,
    calendar_from_dict,
    read_ics,
    register_calendar,
    weekends,
)
from asyncsched.triggers.combined.all_of import AndTrigger
from asyncsched.triggers.combined.any_of import OrTrigger
from asyncsched.triggers.combined.bounded import BetweenTrigger
from asyncsched.triggers.combined.on_days import OnDaysTrigger
from asyncsched.triggers.combined.without import ExceptTrigger
from asyncsched.triggers.cron.trigger import CronTrigger, cron
from asyncsched.triggers.date import DateTrigger, DelayTrigger, after, at
from asyncsched.triggers.interval import IntervalTrigger, every
from asyncsched.triggers.recurrence import RRuleTrigger

__all__ = [
    "AndTrigger",
    "BetweenTrigger",
    "Calendar",
    "CalendarIntervalTrigger",
    "CronTrigger",
    "DateCalendar",
    "DateTrigger",
    "DelayTrigger",
    "ExceptTrigger",
    "IntervalTrigger",
    "Jitter",
    "LintWarning",
    "OnDaysTrigger",
    "OrTrigger",
    "RRuleTrigger",
    "Trigger",
    "WeekdayCalendar",
    "after",
    "at",
    "business_days",
    "calendar_from_dict",
    "cron",
    "every",
    "read_ics",
    "register_calendar",
    "register_trigger",
    "trigger_from_alias",
    "trigger_from_dict",
    "weekends",
]
