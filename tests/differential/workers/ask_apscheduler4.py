"""Answers for APScheduler 4, in its own environment."""

from collections.abc import Iterator
from datetime import date, datetime
from importlib import import_module
from typing import Any

from tests.differential.workers.answering import last_time, local_time, serve, zone_of

CronTrigger: Any = import_module("apscheduler.triggers.cron").CronTrigger
IntervalTrigger: Any = import_module("apscheduler.triggers.interval").IntervalTrigger
CalendarIntervalTrigger: Any = import_module("apscheduler.triggers.calendarinterval").CalendarIntervalTrigger


def trigger_of(question: dict[str, Any]) -> Any:
    zone = zone_of(question)
    # The start itself may fire here, and only whole seconds do.
    start = local_time(question, after=1)
    bounds = {"start_time": start, "end_time": last_time(question), "timezone": zone}
    if question["language"] == "crontab":
        return CronTrigger.from_crontab(question["text"], **bounds)
    if question["language"] == "fields":
        return CronTrigger(**question["fields"], **bounds)
    if question["language"] == "interval":
        return IntervalTrigger(**question["fields"], start_time=datetime.fromtimestamp(question["anchor"], zone))
    first = date.fromisoformat(question["first_day"])
    return CalendarIntervalTrigger(**question["fields"], start_date=first, timezone=zone)


def instants(question: dict[str, Any]) -> Iterator[datetime]:
    trigger = trigger_of(question)
    while (found := trigger.next()) is not None:
        yield found


serve(instants)
