"""What the homeserver refused of what is due, in words, for the log and for the administrators it concerns."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from bridge.direct import Direct
from bridge.homeserver import Refused
from bridge.observe import Observer
from bridge.store import Store
from policy.action import Action
from policy.model import Moment, Policy
from policy.plan import in_words

TOLD = "complaints"
"""Under which name is remembered what administrators were told, and on which day."""

AGAIN = 86_400.0
"""Seconds after which administrators hear of the same refusal again."""

LISTED = 20
"""Refusals in one notice."""

log = logging.getLogger("qwil.complaints")


class HasPolicy(Protocol):
    """Whoever knows the policy in force."""

    @property
    def policy(self) -> Policy: ...


class Complaints:
    """Says what could not be done; administrators hear of each thing once a day."""

    def __init__(
        self,
        *,
        source: HasPolicy,
        observer: Observer,
        store: Store,
        direct: Direct,
        clock: Callable[[], Moment] = time.time,
    ) -> None:
        self._source = source
        self._observer = observer
        self._store = store
        self._direct = direct
        self._clock = clock

    async def note(self, failed: Sequence[tuple[Action, Refused]]) -> None:
        """These actions were refused."""
        policy, seen, now = self._source.policy, self._observer.seen(), self._clock()
        lines: dict[str, list[str]] = {}
        for step, (_, refusal) in zip(in_words(policy, seen, now, [one for one, _ in failed]), failed, strict=True):
            line = f"{step.text}: {refusal}"
            log.warning("The homeserver refused what is due: %s", line)
            for organisation in step.organisations:
                lines.setdefault(organisation, []).append(line)
        told = {key: at for key, at in (await self._store.recall(TOLD, {})).items() if now - at < AGAIN}
        for organisation, said in lines.items():
            news = [line for line in dict.fromkeys(said) if _digest(organisation, line) not in told]
            if news:
                about = f"refused {organisation} {now:.0f} {_digest(*news)}"
                await self._direct.tell_admins(organisation, _notice(news), about=about)
                told |= {_digest(organisation, line): now for line in news}
        await self._store.remember(TOLD, told)


def _notice(lines: Sequence[str]) -> str:
    more = [f"- … and {len(lines) - LISTED} more"] if len(lines) > LISTED else []
    return "\n".join([
        f"The homeserver refused what is due ({len(lines)}):",
        *(f"- {line}" for line in lines[:LISTED]),
        *more,
        "It is tried again whenever something changes. “plan” shows what is still due.",
    ])  # fmt: skip


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
