"""What invitations and the bot's notices about arriving say, in the language of the organisation.

There is one JSON file a language, all with the same keys. What is typed to the bot, like “accept”, is the same in each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from policy.model import Moment

FALLBACK = "en"
_FOLDER = files("bridge.arrival") / "wording"
_DATES = {
    "de": "%d.%m.%Y, %H:%M",
    "es": "%d/%m/%Y a las %H:%M",
    "fr": "%d/%m/%Y à %H:%M",
    "it": "%d/%m/%Y alle %H:%M",
    "nl": "%d-%m-%Y om %H:%M",
    "pl": "%d.%m.%Y, godz. %H:%M",
}
_ENGLISH_DATE = "%d %B %Y, %H:%M"


class Wording:
    """The sentences of one language; `wording("key", name=...)` is one of them."""

    def __init__(self, language: str, sentences: Mapping[str, str]) -> None:
        self.language = language
        self._sentences = sentences

    def __call__(self, key: str, **values: str) -> str:
        return self._sentences[key].format_map(values)

    def moment(self, moment: Moment, timezone: str) -> str:
        """A moment as the organisation's people write it."""
        try:
            zone: ZoneInfo | None = ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError):
            zone = None
        local = datetime.fromtimestamp(moment, zone or UTC)
        return local.strftime(_DATES.get(self.language, _ENGLISH_DATE)).removeprefix(
            "0" if self.language == "en" else ""
        )


@cache
def languages() -> tuple[str, ...]:
    """The languages there are."""
    return tuple(sorted(entry.name.removesuffix(".json") for entry in _FOLDER.iterdir() if entry.name != "__init__.py"))


def wording_of(language: str) -> Wording:
    """The wording of a language such as `en`, `de-CH` or `fr_BE`; English where there is none."""
    short = language.replace("_", "-").split("-")[0].lower()
    return _read(short if short in languages() else FALLBACK)


@cache
def _read(language: str) -> Wording:
    return Wording(language, json.loads((_FOLDER / f"{language}.json").read_text("utf-8")))
