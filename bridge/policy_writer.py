"""Writing the policy's files: whole or not at all, never over somebody else's change, and on record in git.

Programs read the files, edit what they read, and hand both over; whoever changed a file in between wins. Where the
policy lies in a git repository each change is a commit in the administrator's name.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from policy.change import Files
from policy.edit import policy_in
from policy.mistake import Mistakes
from policy.model import Policy
from policy.parse import parse

GIT_TIMEOUT = 30.0
"""Seconds; a hook that waits for somebody must not keep the bridge from its work."""

LONGEST_REASON = 300
"""Characters of what git says when it fails."""

BY_HAND = "Changes made by hand"


class Changed(Exception):
    """A file is no longer what was read; nothing was written."""


class Author(NamedTuple):
    """Who makes a change."""

    name: str
    id: str
    """A Matrix ID or another word that tells this person from others."""

    def __str__(self) -> str:
        name, id_ = ("".join(c for c in word if c.isprintable() and c not in "<>") for word in self)
        return f"{name or 'administrator'} <{id_}>"


class PolicyWriter:
    """Reads and replaces a policy file and the spreadsheets beside it. Its methods block: call them in a thread."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[Files, Policy | Mistakes]:
        """The files as they are now, with the policy in them or its mistakes; raises OSError."""
        beside: dict[str, bytes] = {}

        def read(name: str) -> bytes:
            beside[name] = (self.path.parent / name).read_bytes()
            return beside[name]

        text = self.path.read_bytes()
        found = parse(text, read, name=self.path.name)
        return Files(self.path.name, text, beside), found

    def write(self, before: Files, after: Files, *, author: Author, summary: str) -> str:
        """Put the files in place of those read, and on record; a sentence where git could not record them, else empty.

        Raises `Changed` where a file is no longer what was read, and OSError where it cannot be written; nothing was
        written then.
        """
        changed = _different(before, after)
        if not changed:
            return ""
        with self._alone():
            self._require_unchanged(before)
            complaint = self._commit(list(changed), Author("qwil", "qwil@localhost"), BY_HAND)
            self._replace(self._in_order(before, after, changed))
            return complaint or self._commit(list(changed), author, summary)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One program writes at a time; the folder itself is the lock, so that none is left behind."""
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _require_unchanged(self, before: Files) -> None:
        for name, data in _each(before).items():
            try:
                same = (self.path.parent / name).read_bytes() == data
            except OSError:
                same = False
            if not same:
                raise Changed(f"{name} was changed by somebody else in the meantime: look at it and do it again.")

    def _in_order(self, before: Files, after: Files, changed: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Whoever reads between two files shall find a good policy: a new book before its members, or the reverse."""
        policy = {before.name: changed[before.name]} if before.name in changed else {}
        sheets = {name: data for name, data in changed.items() if name != before.name}
        if not policy or not sheets or isinstance(policy_in(after._replace(beside=before.beside)), Policy):
            return {**policy, **sheets}
        return {**sheets, **policy}

    def _replace(self, contents: Mapping[str, bytes]) -> None:
        """Every file is whole on disk before the first is replaced."""
        drafts: list[tuple[Path, Path]] = []
        try:
            for name, data in contents.items():
                target = (self.path.parent / name).resolve()
                draft = target.with_name(f".{target.name}.new")
                draft.unlink(missing_ok=True)  # whoever left it was killed: the lock is ours
                drafts.append((draft, target))
                _write(draft, target, data)
            for draft, target in drafts:
                draft.replace(target)
                _sync(target.parent)
        finally:
            for draft, _ in drafts:
                draft.unlink(missing_ok=True)

    def _commit(self, names: Sequence[str], author: Author, summary: str) -> str:
        """Record what these files hold, where the folder is kept in git and they hold anything new."""
        if not self._in_git():
            return ""
        try:
            self._git("add", "--", *names)
            if self._git("status", "--porcelain", "--", *names).strip():
                self._git("commit", "--quiet", f"--author={author}", f"--message={summary}", "--", *names)
        except (OSError, subprocess.SubprocessError) as error:
            return f"The change is made, but git did not record it: {_reason(error)}"
        return ""

    def _in_git(self) -> bool:
        """Its folder is a repository, or it lies deeper in one that keeps it already."""
        if (self.path.parent / ".git").exists():
            return True
        with suppress(OSError, subprocess.SubprocessError):
            return bool(self._git("ls-files", "--", self.path.name).strip())
        return False

    def _git(self, *words: str) -> str:
        ours = ("-c", "user.name=qwil", "-c", "user.email=qwil@localhost", "-c", "commit.gpgsign=false")
        done = subprocess.run(  # noqa: S603 - our own words
            ("git", "-C", str(self.path.parent.resolve()), *ours, *words),  # noqa: S607 - the git of this machine
            check=True, capture_output=True, text=True, errors="replace", timeout=GIT_TIMEOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return done.stdout


def _reason(error: OSError | subprocess.SubprocessError) -> str:
    """Why git did not do it, in one line: what it calls fatal, else whatever it or a hook said, but no hints."""
    if isinstance(error, subprocess.TimeoutExpired):
        return f"it took longer than {error.timeout:.0f} seconds."
    if not isinstance(error, subprocess.CalledProcessError):
        return str(error)
    said = [line.strip() for line in str(error.stderr or "").splitlines() if not line.startswith("hint:")]
    fatal = [line for line in said if line.startswith(("fatal:", "error:"))]
    return " ".join(fatal[:1] or said)[:LONGEST_REASON] or f"it ended with status {error.returncode} without a word."


def _each(files: Files) -> dict[str, bytes]:
    return {files.name: files.text, **files.beside}


def _different(before: Files, after: Files) -> dict[str, bytes]:
    old = _each(before)
    return {name: data for name, data in _each(after).items() if old.get(name) != data}


def _write(draft: Path, target: Path, data: bytes) -> None:
    """Whoever may read the file now may read the new one."""
    old = target.stat()
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(data)
        out.flush()
        _give(out.fileno(), old)
        os.fchmod(out.fileno(), old.st_mode & 0o7777)
        os.fsync(out.fileno())


def _give(file: int, old: os.stat_result) -> None:
    """To the owner and group of the old file, or at least to its group: the homeserver may read it by that alone."""
    for owner in (old.st_uid, -1):
        with suppress(PermissionError):
            os.fchown(file, owner, old.st_gid)
            return
    if not old.st_mode & stat.S_IROTH:
        raise PermissionError(errno.EPERM, "those who read it now could not read it afterwards, its group is not ours")


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
