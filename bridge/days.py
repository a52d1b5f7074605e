"""Days as people write them, and the moments at which they begin and end where an organisation is."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from policy.model import Policy

LAST = date(9998, 12, 31)
"""The last day that another one follows in every zone."""


def zone_of(policy: Policy, organisation: str) -> tzinfo:
    """When an organisation's days begin; UTC where the policy does not say."""
    home = policy.organisations.get(organisation)
    return ZoneInfo(home.timezone) if home is not None and home.timezone != "UTC" else UTC


def start_of(word: str, zone: tzinfo) -> int:
    """The moment at which the day begins, in milliseconds; raises `ValueError` for what is no day like 2026-12-24."""
    return _midnight(_day(word), zone)


def end_of(word: str, zone: tzinfo) -> int:
    """The moment after that day, in milliseconds; raises `ValueError` likewise."""
    return _midnight(_day(word) + timedelta(days=1), zone)


def _day(word: str) -> date:
    return min(date.fromisoformat(word), LAST)


def _midnight(day: date, zone: tzinfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)
