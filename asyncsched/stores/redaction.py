"""Passwords are taken out of whatever is shown."""

import re
from typing import Final

__all__ = ["SECRET", "redact"]

SECRET: Final = re.compile(r"(?i)\b(\w*(?:password|passwd|pwd|secret|token)\w*\s*=\s*)('[^']*'|[^&\s]*)")
"""A secret among the parameters of a URL or connection string, as (key and sign, value)."""


def redact(url: str) -> str:
    """Return a URL or a connection string with its password replaced by ``***``.

    Where it is unclear what belongs to the password, rather too much is replaced.
    """
    scheme, separator, rest = url.partition("://")
    user, at, tail = rest.rpartition("@")
    if not separator or not at:
        return SECRET.sub(r"\1***", url)
    if SECRET.search(user):  # the "@" stands in a password among the parameters
        return f"{scheme}://***"
    name, colon, _password = user.partition(":")
    return SECRET.sub(r"\1***", f"{scheme}://{name}{':***' if colon else ''}@{tail}")
