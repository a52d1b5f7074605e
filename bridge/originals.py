"""Deleted events as they were: what the homeserver still keeps of them, for a record that missed the original.

History and catch-up carry a deleted event without its content. An administrator of the homeserver is given the whole
for some days (Synapse, `redaction_retention_period`), by the admin API's `fetch_event`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

from mautrix.api import Method, SynapseAdminPath

from bridge.homeserver import Homeserver, Refused
from bridge.ledger import as_json
from bridge.store import NewEvent

log = logging.getLogger("qwil.originals")


async def with_originals(homeserver: Homeserver, events: Sequence[NewEvent]) -> list[NewEvent]:
    """The same events, the deleted ones as they were before, as far as that can be had."""
    return [await _original(homeserver, event) if '"redacted_because"' in event.json else event for event in events]


async def _original(homeserver: Homeserver, event: NewEvent) -> NewEvent:
    whole: dict[str, Any] = json.loads(event.json)
    if not isinstance(whole.get("unsigned"), dict) or "redacted_because" not in whole["unsigned"]:
        return event
    try:
        answer = await homeserver.ask(Method.GET, SynapseAdminPath.v1.fetch_event[event.event_id])
    except Refused as refusal:
        log.warning("What %s was before it was deleted cannot be had: %s", event.event_id, refusal)
        return event
    kept = answer.get("event", {}).get("content")
    if not isinstance(kept, dict) or len(kept) <= len(whole.get("content") or ()):
        return event
    del whole["unsigned"]["redacted_because"]
    return event._replace(json=as_json({**whole, "content": kept}))
