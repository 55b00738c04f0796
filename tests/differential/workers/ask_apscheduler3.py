"""Answers for APScheduler 3, in its own environment."""

from collections.abc import Iterator
from datetime import date, datetime
from importlib import import_module
from typing import Any

from tests.differential.workers.answering import last_time, local_time, serve, zone_of

triggers: Any = "apscheduler.triggers"
CronTrigger: Any = import_module(f"{triggers}.cron").CronTrigger
IntervalTrigger: Any = import_module(f"{triggers}.interval").IntervalTrigger
CalendarIntervalTrigger: Any = import_module(f"{triggers}.calendarinterval").CalendarIntervalTrigger


def trigger_of(question: dict[str, Any]) -> Any:
    zone = zone_of(question)
    if question["language"] in {"crontab", "fields"}:
        trigger = (
            CronTrigger.from_crontab(question["text"], timezone=zone)
            if question["language"] == "crontab"
            else CronTrigger(**question["fields"], timezone=zone)
        )
        trigger.end_date = last_time(question)
        return trigger
    if question["language"] == "interval":
        anchor = datetime.fromtimestamp(question["anchor"], zone)
        return IntervalTrigger(**question["fields"], start_date=anchor, timezone=zone)
    first = date.fromisoformat(question["first_day"])
    return CalendarIntervalTrigger(**question["fields"], start_date=first, timezone=zone)


def instants(question: dict[str, Any]) -> Iterator[datetime]:
    trigger = trigger_of(question)
    # "Now" itself may fire here, and only whole seconds do.
    previous, now = None, local_time(question, after=1)
    while (found := trigger.get_next_fire_time(previous, now)) is not None:
        yield found
        previous = now = found


serve(instants)
