"""Schedulers from configuration: store URLs, and the three forms of `Scheduler.from_config`.

A configuration is a nested mapping, a mapping with flat dotted keys, or a TOML file. Its keys are
the parameters of `Scheduler`. What cannot be understood is refused with its place; nothing is
ignored. Passwords in URLs are never repeated in an error.
"""

from asyncsched.config.settings import Settings, read_settings
from asyncsched.config.urls import store_from_url
from asyncsched.stores.redaction import redact

__all__ = ["Settings", "read_settings", "redact", "store_from_url"]
