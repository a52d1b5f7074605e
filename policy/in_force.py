"""The policy in force inside Synapse: whom it is for, and that whatever goes wrong while it is asked refuses."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from synapse.api.errors import SynapseError
from twisted.internet.defer import CancelledError

from policy.client_error import client_error, rules_told
from policy.creation import spanning_steps
from policy.hot_reload import PolicyFile
from policy.judge import Refused
from policy.model import Policy, UserId
from policy.module_settings import Settings
from policy.reach import with_several
from policy.refusals import Refusals
from policy.turns import turn_steps

_NO_POLICY = Refused("The rules of this server cannot be read at the moment, so nothing can be done. Please try later.")
FAULT = Refused("This could not be checked against the rules and was not done. Please tell an administrator.")

logger = logging.getLogger(__name__)


class InForce:
    """The newest good policy of the file, on this process; what it refuses is noted in `refusals`."""

    def __init__(self, settings: Settings, server: str, refusals: Refusals) -> None:
        logger.disabled = False
        self._settings, self._server, self._refusals = settings, server, refusals
        self.file = PolicyFile(settings.policy, prepare=self._prepared)

    def follow(self) -> None:
        """Read the file now, and whenever it changes."""
        self.file.load()
        self.file.watch()

    def _prepared(self, policy: Policy) -> Iterator[None]:
        with_several(policy)
        yield from turn_steps(policy)
        yield from spanning_steps(policy, self._server)

    @property
    def latest(self) -> Policy | None:
        """The policy; None while there never was a good one."""
        return self.file.policy

    def policy(self) -> Policy:
        """The policy; refuses while there is none."""
        if (policy := self.file.policy) is None:
            raise client_error(_NO_POLICY)
        return policy

    def searchable(self) -> Policy:
        """The policy in force, or the one before it until a large one is indexed."""
        return self.file.searchable or self.policy()

    def ignores(self, policy: Policy, user: UserId) -> bool:
        """Is this account in no organisation, where those are left alone?"""
        return self._settings.unlisted_accounts == "ignore" and user not in policy.accounts

    def leaves_free(self, user: UserId) -> bool:
        """The bot, and accounts of no organisation where these are left alone."""
        return user == self._settings.bot or self.ignores(self.policy(), user)

    def governs(self, user: UserId) -> bool:
        """Whom the rules are for; everybody but the bot while there are none."""
        return user != self._settings.bot and (self.latest is None or not self.ignores(self.latest, user))

    @contextmanager
    def closed(self, what: str) -> Iterator[None]:
        """Whatever goes wrong refuses; `what` was refused then, as the audit has it."""
        try:
            yield
        except SynapseError as refusal:
            # Kept in memory alone; a client that floods us with the same request is one entry.
            if rules := rules_told(refusal):
                self._refusals.note(what, rules, refusal.msg, time.time())
            raise
        except CancelledError:
            raise
        except Exception:  # whatever it is, what could not be judged does not happen
            logger.exception("Could not decide on %s, which is therefore refused", what)
            raise client_error(FAULT) from None
