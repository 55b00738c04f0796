"""Every change of the clocks that the tz database holds is found, however close together two are."""

import zoneinfo
from datetime import UTC, datetime, timedelta

import pytest

from asyncsched.clock import EPOCH
from asyncsched.triggers.wall import wall_clock

CLOSE_TOGETHER = ["America/Noronha", "Asia/Gaza", "Africa/Casablanca", "Africa/Tunis", "America/Argentina/San_Luis"]


@pytest.mark.parametrize("key", [*CLOSE_TOGETHER, "Pacific/Apia", "Australia/Lord_Howe", "Antarctica/Troll", "UTC"])
def test_windows_agree_with_the_zone_hour_by_hour(key: str) -> None:
    zone, wall = zoneinfo.ZoneInfo(key), wall_clock(zoneinfo.ZoneInfo(key))
    for year in (1943, 2000, 2011, 2040):
        start = int((datetime(year, 1, 1, tzinfo=UTC) - EPOCH).total_seconds())
        for instant in range(start, start + 366 * 86_400, 3600):
            offset = (EPOCH + timedelta(seconds=instant)).astimezone(zone).utcoffset()
            assert offset is not None
            assert wall.window(instant).offset == offset.total_seconds()


def test_windows_join_without_holes() -> None:
    wall, instant = wall_clock(zoneinfo.ZoneInfo("Africa/Casablanca")), 0
    for _ in range(300):
        window = wall.window(instant)
        following = wall.window(window.end)
        assert (window.start <= instant, following.start, following.before) == (True, window.end, window.offset)
        assert window.behind == following.offset
        instant = window.end
