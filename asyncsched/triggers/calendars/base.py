"""What a calendar is: a pure, frozen set of days that a trigger can be restricted to or kept off.

A calendar knows days, not instants and not zones: the trigger that uses it says in which zone a day
begins. This module stands below the triggers and does not know them.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import date
from typing import Any, ClassVar, Self

__all__ = ["Calendar"]


class Calendar(ABC):
    """A set of days. Subclasses are frozen, hashable and comparable values."""

    __slots__ = ()

    kind: ClassVar[str]
    """The name under which the calendar is written to stores."""

    @abstractmethod
    def includes(self, day: date) -> bool:
        """Return whether the day belongs to the calendar."""

    @abstractmethod
    def describe(self) -> str:
        """Return the calendar in plain words that follow ``on``, such as ``Monday to Friday``."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the calendar as JSON values with the keys ``kind`` and ``v``."""

    @classmethod
    @abstractmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild a calendar from `to_dict`."""
