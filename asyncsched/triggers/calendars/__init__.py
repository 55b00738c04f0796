"""Calendars: sets of days, such as holidays or business days, that triggers keep to or leave out."""

from asyncsched.triggers.calendars.algebra import (
    ComplementCalendar,
    DifferenceCalendar,
    IntersectionCalendar,
    UnionCalendar,
)
from asyncsched.triggers.calendars.base import Calendar, calendar_from_dict, register_calendar
from asyncsched.triggers.calendars.dates import DateCalendar
from asyncsched.triggers.calendars.ics import read_ics
from asyncsched.triggers.calendars.weekdays import WeekdayCalendar, business_days, weekends

__all__ = [
    "Calendar",
    "ComplementCalendar",
    "DateCalendar",
    "DifferenceCalendar",
    "IntersectionCalendar",
    "UnionCalendar",
    "WeekdayCalendar",
    "business_days",
    "calendar_from_dict",
    "read_ics",
    "register_calendar",
    "weekends",
]
