"""`qwil import`: people from a spreadsheet into the policy, as an operator at the machine of the bridge."""

from __future__ import annotations

import asyncio
import getpass
import platform
import time
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from typing import Any

from bridge import spreadsheet
from bridge.config import Config
from bridge.database import StoreRefused, StoreUnavailable
from bridge.policy_writer import Author, Changed, PolicyWriter
from bridge.store import Store
from policy.amend import on_record
from policy.change import Files
from policy.edit import Refusal, edit
from policy.import_verdicts import Import, Table, report
from policy.imports import plan_import
from policy.mistake import instead, quoted
from policy.model import Policy


class NotImported(Exception):
    """Nothing was imported; the text says why and what to do."""


def run(
    config: Config, organisation: str, file: Path, *, apply: bool, skip_existing: bool
) -> tuple[Iterator[str], bool]:
    """What the rows of the file do, or with `apply` did, in lines; and whether all of them are good.

    Refused rows are put into a file beside the given one. Raises `NotImported` and OSError.
    """
    writer = PolicyWriter(config.policy)
    files, policy = writer.read()
    if not isinstance(policy, Policy):
        raise NotImported(f"the policy has mistakes: qwil check {config.policy} names them; repair them first")
    if organisation not in policy.organisations:
        known = instead(organisation, policy.organisations)
        raise NotImported(f"there is no organisation {quoted(organisation)} in the policy{known}")
    data = file.read_bytes()
    try:
        found = plan_import(policy, organisation, spreadsheet.read(data), skip_existing=skip_existing)
    except spreadsheet.Unreadable as error:
        raise NotImported(f"{file}: {error}") from error
    notes = [_sent_back(found, file, spreadsheet.kind_of(data))] if found.refused else []
    if apply and found.does_something:
        notes.append(_apply(config, writer, files, policy, found, file))
    elif found.does_something:
        notes.append("Nothing is done yet: --apply does it.")
    return iter([*report(found), *notes]), found.good


def write_template(file: Path) -> None:
    """An empty spreadsheet with all headings, of the kind that the file's name says."""
    kinds: dict[str, spreadsheet.Kind] = {".csv": "csv", ".xlsx": "xlsx"}
    kind = kinds.get(file.suffix.lower())
    if kind is None:
        raise NotImported(f"{file}: a template is a .csv or an .xlsx file")
    if file.exists():
        raise NotImported(f"{file} is there already: choose another name")
    file.write_bytes(spreadsheet.template(kind))


def _sent_back(found: Import, file: Path, kind: spreadsheet.Kind) -> str:
    refused = found.refused_table()
    names = chain(("",), (f"-{number}" for number in count(2)))
    every = (file.with_name(f"{file.stem}-refused{name}.{kind}") for name in names)
    back = next(path for path in every if not path.exists() or _holds(path, refused))
    try:
        back.write_bytes(spreadsheet.write(refused, kind))
    except OSError as error:
        return f"The refused rows could not be written into {back} ({error.strerror}): copy the file to another folder."
    return f"The refused rows are in {back}, each with its reason: mend them there and import that file."


def _holds(path: Path, refused: Table) -> bool:
    """The rows as they were refused: nobody has begun to mend them."""
    try:
        found = spreadsheet.read(path.read_bytes())
    except (OSError, spreadsheet.Unreadable):
        return False
    return (found.headings, found.columns) == (refused.headings[:-1], refused.columns[:-1])


def _apply(config: Config, writer: PolicyWriter, files: Files, policy: Policy, found: Import, file: Path) -> str:
    after = edit(files, found.changes, policy)
    if isinstance(after, Refusal):
        raise NotImported(after.text)
    what = f"import into {found.organisation}"
    who = Author(getpass.getuser(), f"operator:{getpass.getuser()}")
    where = {"file": str(file.resolve()), "machine": platform.node()}
    details = {"changes": [on_record(policy, change) for change in found.changes], **where}
    asyncio.run(_audit(config, who.id, what, details))
    try:
        note = writer.write(files, after, author=who, summary=what)
    except (Changed, OSError) as error:
        asyncio.run(_audit(config, who.id, f"not done: {what}", {"reason": str(error), **where}))
        raise NotImported(f"nothing was done: {error}") from error
    return " ".join(part for part in ("Done: it takes effect within 2 seconds.", note) if part)


async def _audit(config: Config, who: str, what: str, details: dict[str, Any]) -> None:
    """Nothing is done that is not on record."""
    try:
        store = await Store.open(config.database)
        try:
            await store.audit(who, what, details, time=time.time())
        finally:
            await store.close()
    except (StoreUnavailable, StoreRefused) as error:
        raise NotImported(f"nothing was done, as it could not be put on record: {error}") from error
