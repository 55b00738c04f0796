"""Cron: two languages over one pattern, searched by masks and integer arithmetic."""

from asyncsched.triggers.cron.trigger import CronTrigger, cron

__all__ = ["CronTrigger", "cron"]
