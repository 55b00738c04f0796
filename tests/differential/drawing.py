"""Random questions in the dialect of each library, weighted towards the hours in which clocks change."""

from calendar import monthrange
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import Final
from zoneinfo import ZoneInfo

from tests.differential.clocks import changes
from tests.differential.questions import Question

__all__ = ["DIALECTS", "ZONES", "draw"]

ZONES: Final = (
    "America/New_York",
    "Europe/Berlin",
    "Australia/Lord_Howe",  # half an hour
    "America/Sao_Paulo",  # at midnight, until 2019
    "Africa/Casablanca",  # four times a year, around Ramadan
    "Europe/Dublin",  # negative in winter
    "Asia/Beirut",  # at midnight
    "Pacific/Apia",  # without a 30 December 2011
    "Asia/Kolkata",  # not at all
)
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIRST: Final = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp())
_LAST: Final = int(datetime(2037, 12, 31, tzinfo=UTC).timestamp())
_DAY: Final = 86_400
_LIMIT: Final = 3652 * _DAY


def _chance(random: Random, share: float) -> bool:
    return random.random() < share


def _element(random: Random, low: int, high: int, names: Sequence[str], *, wraps: bool) -> str:
    first, last = random.randint(low, high), random.randint(low, high)
    if first > last and not wraps:
        first, last = last, first
    count = (last - first) % (high - low + 1) + 1
    shape = random.choice(("number", "number", "range", "range", "stepped", "from", "name"))
    if shape == "name" and names:
        written = names[first - low], names[last - low]
        return "-".join(written) if first != last and _chance(random, 0.5) else written[0]
    if shape == "range" and first != last:
        return f"{first}-{last}"
    if shape == "stepped" and count > 2:
        return f"{first}-{last}/{random.randint(2, count - 1)}"
    if shape == "from" and high - first >= 2:
        return f"{first}/{random.randint(2, high - first)}"
    return str(first)


def _field(
    random: Random, low: int, high: int, names: Sequence[str] = (), *, star: float = 0.3, wraps: bool = False
) -> str:
    if _chance(random, star):
        return "*"
    if _chance(random, 0.2):
        return f"*/{random.randint(2, (high - low) // 2)}"
    return ",".join(_element(random, low, high, names, wraps=wraps) for _ in range(random.choice((1, 1, 1, 2, 3))))


def _hour(random: Random, *, wraps: bool = False) -> str:
    """One half of the hours lie where clocks change."""
    if _chance(random, 0.01):
        return "22-2"
    if _chance(random, 0.5):
        return _field(random, 0, 23, wraps=wraps)
    return random.choice((str(random.randint(0, 3)), "0-3", "1-3/2", "*/2", "0,2", "1,2,3", "23,0", "0-23"))


def _minute(random: Random, *, wraps: bool = False) -> str:
    if _chance(random, 0.005):
        return "*/90"
    if _chance(random, 0.5):
        return random.choice(("0", "30", "*/15", "0,30", "15-45/15", "59", "5/10"))
    return _field(random, 0, 59, star=0.15, wraps=wraps)


def _second(random: Random) -> str:
    return random.choice(("0", "30", "*/20", "0,30", "10-50/20", "*", "59", "5/25"))


def _days(random: Random) -> tuple[str, str]:
    """Day of month and day of week: more often than not one of them is a star."""
    kind = random.choice(("star", "month", "month", "week", "week", "both"))
    month = _field(random, 1, 31, star=0) if kind in {"month", "both"} else "*"
    week = _field(random, 0, 6, _WEEKDAYS, star=0) if kind in {"week", "both"} else "*"
    return month, week


def _month(random: Random, *, wraps: bool = False) -> str:
    return _field(random, 1, 12, _MONTHS, star=0.7, wraps=wraps)


def _any_case(random: Random, text: str) -> str:
    return random.choice((text, text, text.upper(), text.title()))


def _croniter(random: Random) -> str:
    wraps = _chance(random, 0.2)
    month, week = _days(random)
    if month == "*" and _chance(random, 0.15):
        month = random.choice(("L", "15,L", "1,L", "L", f"{random.randint(1, 28)}W", f"{random.randint(29, 31)}W"))
        week = week if _chance(random, 0.2) and "W" not in month else "*"
    elif month == "*" and _chance(random, 0.15):
        day = random.randint(0, 6)
        week = random.choice((f"L{day}", f"{day}#{random.randint(1, 5)}", f"{_WEEKDAYS[day]}#{random.randint(1, 5)}"))
    elif week not in {"*", "?"} and _chance(random, 0.1):
        week = random.choice(("7", "5-7", "7,3", "fri-mon", "sat-tue", "2-2"))
    words = [_minute(random, wraps=wraps), _hour(random, wraps=wraps), month, _month(random, wraps=wraps), week]
    if _chance(random, 0.25):
        words.append(_second(random))
        if _chance(random, 0.2):
            year = random.randint(2000, 2060)
            words.append(random.choice((str(year), f"{year}-{year + 20}/{random.randint(2, 4)}", f"{year},{year + 3}")))
    return " ".join(_any_case(random, word) for word in words)


def _cronsim(random: Random) -> str:
    month, week = _days(random)
    if month == "*" and _chance(random, 0.15):
        month = random.choice(("L", "LW", "15,L", "1,LW", "L,LW"))
        week = week if _chance(random, 0.3) else "*"
    elif week != "*" and _chance(random, 0.25):
        day = random.randint(0, 6)
        n = random.randint(1, 5)
        week = random.choice((f"{day}L", f"{day}#{n}", f"{_WEEKDAYS[day]}#{n}", f"{day}L,{day}#1", "7", "5-7", "7L"))
    words = [_minute(random), _hour(random), month, _month(random), week]
    if _chance(random, 0.25):
        words.insert(0, _second(random))
    return " ".join(_any_case(random, word) for word in words)


def _apscheduler_day(random: Random) -> str:
    ordinals = ("1st", "2nd", "3rd", "4th", "5th", "last")
    parts = [f"{random.choice(ordinals)} {random.choice(_WEEKDAYS)}" for _ in range(random.choice((1, 1, 2)))]
    return random.choice((", ".join(parts), ",".join(parts), "last", "15,last", _field(random, 1, 31, star=0)))


def _apscheduler_fields(random: Random, weekday: Callable[[Random], str]) -> dict[str, str | int]:
    kinds: Mapping[str, Callable[[], str]] = {
        "year": lambda: random.choice(("*", "2000-2060/3", "2004-2050", "*/4")),
        "month": lambda: _month(random),
        "day": lambda: _apscheduler_day(random),
        "week": lambda: _field(random, 1, 53, star=0.1),
        "day_of_week": lambda: weekday(random),
        "hour": lambda: _hour(random),
        "minute": lambda: _minute(random),
        "second": lambda: _second(random),
    }
    shares = (0.05, 0.3, 0.3, 0.1, 0.3, 0.75, 0.6, 0.2)
    names = [name for name, share in zip(kinds, shares, strict=True) if _chance(random, share)] or ["hour"]
    fields: dict[str, str | int] = {name: kinds[name]() for name in names}
    if {"week", "day"} <= fields.keys():  # the two together often match on no day at all
        del fields["day"]
    return {name: int(text) if str(text).isdigit() and _chance(random, 0.5) else text for name, text in fields.items()}


def _named_weekday(random: Random) -> str:
    first, last = sorted(random.sample(range(7), 2))
    monday_first = (*_WEEKDAYS[1:], "sun")
    return random.choice((monday_first[first], f"{monday_first[first]}-{monday_first[last]}", "mon,wed,fri", "*"))


def _weekday3(random: Random) -> str:
    if _chance(random, 0.05):
        return random.choice(("mon-fri/2", "mon-sun/3"))
    return _named_weekday(random) if _chance(random, 0.5) else _field(random, 0, 6, star=0.1)


def _weekday4(random: Random) -> str:
    if _chance(random, 0.6):
        return _named_weekday(random)
    return random.choice(
        (
            str(random.randint(0, 7)),
            "1-5",
            "2-4",
            "0,6",
            "5-7",
            "sat-tue",
            "fri-sun",
            "1,3-5",
            "1-5/2",
            "*/2",
            "mon-fri/2",
        )
    )


def _crontab3(random: Random) -> str:
    month, week = _days(random)
    week = week if week == "*" else _weekday3(random)
    return f"{_minute(random)} {_hour(random)} {month} {_month(random)} {week}"


def _crontab4(random: Random) -> str:
    month, week = _days(random)
    week = week if week == "*" else _weekday4(random)
    return f"{_minute(random)} {_hour(random)} {month} {_month(random)} {week}"


@cache
def _changes(zone: str) -> Sequence[int]:
    return [change.instant for change in changes(zone, _FIRST, _LAST)]


def _start(random: Random, zone: str) -> int:
    """Anywhere in UTC; elsewhere mostly shortly before the clocks change, or while they do."""
    known: Sequence[int] = () if zone == "UTC" else _changes(zone)
    if known and _chance(random, 0.7):
        return random.choice(known) - random.choice((random.randint(0, 3 * _DAY), random.randint(-5400, 5400)))
    if _chance(random, 0.2):  # the turn of a year or of a month
        return int(datetime(random.randint(2000, 2037), random.randint(1, 12), 1, tzinfo=UTC).timestamp()) - 1
    return random.randint(_FIRST, _LAST)


def _later_interval(random: Random, zone: str) -> Question:
    """Asked about an instant that lies up to two months after the anchor."""
    question = _interval(random, zone)
    return replace(question, start=question.anchor + random.randint(0, 60 * _DAY))


def _interval(random: Random, zone: str) -> Question:
    units = {"weeks": 3, "days": 10, "hours": 30, "minutes": 90, "seconds": 5000}
    names = random.sample(list(units), random.choice((1, 1, 2)))
    fields: dict[str, str | int] = {name: random.randint(1, units[name]) for name in names}
    start = _start(random, zone)
    return Question(language="interval", fields=fields, zone=zone, anchor=start, start=start - 1)


def _calendar(random: Random, zone: str) -> Question:
    units = {"years": 2, "months": 14, "weeks": 4, "days": 40}
    names = random.sample(list(units), random.choice((1, 1, 2)))
    fields: dict[str, str | int] = {name: random.randint(1, units[name]) for name in names}
    fields |= {"hour": random.choice((0, 1, 2, 3, random.randint(0, 23))), "minute": random.choice((0, 30, 59))}
    first = datetime.fromtimestamp(_start(random, zone), UTC) + timedelta(days=random.randint(0, 3))
    if _chance(random, 0.2):  # a day that some months lack
        first = first.replace(day=monthrange(first.year, first.month)[1])
    midnight = first.replace(tzinfo=ZoneInfo(zone), hour=0, minute=0, second=0)
    return Question(
        language="calendar",
        fields=fields,
        zone=zone,
        first_day=first.date().isoformat(),
        start=int(midnight.timestamp()) - _DAY,
    )


Dialect = Callable[[Random, str], Question]


def _crontab(text: Callable[[Random], str]) -> Dialect:
    return lambda random, zone: Question(text=text(random), zone=zone, start=_start(random, zone))


def _limited(dialect: Dialect) -> Dialect:
    """Without a limit APScheduler looks for what matches no day of any year until the year 9999."""

    def limited(random: Random, zone: str) -> Question:
        question = dialect(random, zone)
        return replace(question, until=question.start + _LIMIT)

    return limited


def _fields(weekday: Callable[[Random], str]) -> Dialect:
    return lambda random, zone: Question(
        language="fields", fields=_apscheduler_fields(random, weekday), zone=zone, start=_start(random, zone)
    )


DIALECTS: Final[Mapping[str, Sequence[Dialect]]] = {
    "croniter": (_crontab(_croniter),),
    "cronsim": (_crontab(_cronsim),),
    "apscheduler3": (
        _limited(_fields(_weekday3)),
        _limited(_fields(_weekday3)),
        _limited(_crontab(_crontab3)),
        _later_interval,
        _calendar,
    ),
    "apscheduler4": (
        _limited(_fields(_weekday4)),
        _limited(_fields(_weekday4)),
        _limited(_crontab(_crontab4)),
        _interval,
        _calendar,
    ),
}
"""For each library the kinds of question that it is asked, as often as they stand here."""


def draw(peer: str, random: Random, count: int) -> list[Question]:
    """Questions for a library, one third of them in UTC."""
    # croniter tries every second of a day that the clocks skip: one question can take it more than a minute.
    where = [zone for zone in ZONES if (peer, zone) != ("croniter", "Pacific/Apia")]
    zones = [random.choice(("UTC", *random.choices(where, k=2))) for _ in range(count)]
    return [random.choice(DIALECTS[peer])(random, zone) for zone in zones]
