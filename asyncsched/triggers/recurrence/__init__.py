"""Recurrences of RFC 5545 (iCalendar): read strictly, searched by masks of days, bounded always."""

from asyncsched.triggers.recurrence.trigger import RRuleTrigger

__all__ = ["RRuleTrigger"]
