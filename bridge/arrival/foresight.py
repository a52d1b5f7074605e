"""What of an organisation's settings will not show in its mails as it was meant: for `check` and `status`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from bridge.arrival.logo import IN_MAILS, LARGEST, TYPES, logo_of
from bridge.arrival.words import languages, wording_of
from policy.mistake import instead, quoted
from policy.model import Organisation, Policy


def foreseen(policy: Policy, folder: Path, organisations: Collection[str] | None = None) -> list[str]:
    """Sentences about these organisations, by default all; `folder` is the policy's."""
    wanted = policy.organisations if organisations is None else organisations
    return [
        f"{name}: {sentence}"
        for name, organisation in policy.organisations.items()
        if name in wanted
        for sentence in (*_of_language(organisation), *_of_logo(organisation, folder))
    ]


def unknown_networks(staff_networks: Collection[str], policy: Policy) -> list[str]:
    """Rules of `web.staff_networks` about nobody: most often a slip of the pen, and they protect nobody."""
    return [
        f"config.yaml says where staff of {quoted(name)} may accept (web.staff_networks), but there is no such "
        f"organisation{instead(name, policy.organisations)}"
        for name in staff_networks
        if name not in policy.organisations
    ]


def _of_language(organisation: Organisation) -> Iterator[str]:
    known = wording_of(organisation.language).language
    if known != organisation.language.replace("_", "-").split("-")[0].lower():
        yield (
            f"there is no wording in the language {quoted(organisation.language)}: mails, letters and pages are in "
            f"English (there are {', '.join(languages())})"
        )


def _of_logo(organisation: Organisation, folder: Path) -> Iterator[str]:
    if not organisation.logo:
        return
    logo = logo_of(organisation, folder)
    if logo is None:
        right = f"it is a file beside the policy that ends in {', '.join(TYPES)}, of at most {LARGEST // 1000} KB"
        yield f"the logo {quoted(organisation.logo)} cannot be shown: {right}"
    elif logo.mimetype not in IN_MAILS:
        yield f"the logo {quoted(organisation.logo)} does not show in mails: most mail programs draw png, jpeg and gif"
