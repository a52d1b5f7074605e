"""The one place that puts the parts together: events, people and files in, a signed export out.

Everything unfinished is in a work folder. An export that was killed at any point goes on from there when it is asked
for again with the same account: files that were fetched and volumes that were drawn are used again, and the rest is
made anew, to the same bytes. The finished folder appears whole or not at all.
"""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from nacl.signing import SigningKey

from bridge.transcript import bundle, record, rsmf
from bridge.transcript.compose import Composer
from bridge.transcript.fonts import Fonts
from bridge.transcript.media import NONE_KNOWN, Fetch, Shelf
from bridge.transcript.model import Account, Person, Received, Transcript
from bridge.transcript.pages import ENTRIES
from bridge.transcript.render_pdf import TIME_LIMIT, Press, Progress

Events = Callable[[], Iterable[Mapping[str, Any] | str]]
"""Begins the events of the room anew, in order; each is what the homeserver sent, or its JSON."""


HELD_FOR_A_MOMENT = (0.05, 0.1, 0.2, 0.4)
"""Seconds between two looks whether somebody still makes the same export."""


class UnderWay(Exception):
    """The same export is being made by somebody else just now."""


@dataclass(frozen=True)
class Exported:
    """A finished export."""

    folder: Path
    files: tuple[Path, ...]
    """In the order in which a person wants them: the PDFs, the media, the record, the rest."""
    transcript: Transcript
    problems: tuple[str, ...]
    """Everything that could not be had, a sentence each."""

    @property
    def pdfs(self) -> tuple[Path, ...]:
        """The volumes."""
        return tuple(file for file in self.files if file.suffix == ".pdf")


@dataclass(frozen=True)
class Settings:
    """How exports are made here."""

    key: SigningKey
    fonts: Fonts
    workers: int = 2
    """Volumes drawn at the same time, some 300 MiB each."""
    time_limit: float = TIME_LIMIT
    """Seconds that one volume may take."""
    volume_entries: int = ENTRIES
    """Entries in one PDF."""
    rsmf: bool = False
    """Whether the export holds an RSMF file, too."""


def export(
    account: Account,
    events: Events,
    people: Mapping[str, Person],
    fetch: Fetch,
    *,
    work: Path,
    out: Path,
    settings: Settings,
    received: Mapping[str, Received] = NONE_KNOWN,
    progress: Progress | None = None,
) -> Exported:
    """Make the export in the folder `out`, which must not exist; `work` is kept for another try and may then go.

    `received` is what is known of the files from when they came, by their content URI.

    Raises `UnderWay` while another process makes it, `FileExistsError` where `out` is there already, and
    `render_pdf.DrawingFailed` when no PDF can be made of it.
    """
    if out.exists():
        raise FileExistsError(f"{out} is there already: an export is never written over another")
    work.mkdir(parents=True, exist_ok=True)
    with _alone(work):
        transcript = write_record(account, events(), people, fetch, work, received)
        drawn = _press(work, settings).draw(transcript, progress=progress)
        unfinished = _emptied(work / "unfinished")
        volumes = _place_volumes(drawn.volumes, unfinished)
        _fill(unfinished, work, transcript, settings, volumes, drawn.problems)
        out.parent.mkdir(parents=True, exist_ok=True)
        unfinished.chmod(0o700)
        shutil.move(unfinished, out)
    problems = (*transcript.problems, *drawn.problems)
    return Exported(out, tuple(sorted(out.iterdir(), key=_wanted_first)), transcript, problems)


def write_record(
    account: Account,
    events: Iterable[Mapping[str, Any] | str],
    people: Mapping[str, Person],
    fetch: Fetch,
    work: Path,
    received: Mapping[str, Received] = NONE_KNOWN,
) -> Transcript:
    """Write `messages.jsonl` into the work folder, and fetch the files on the way."""
    with closing(Shelf(work, fetch, received)) as shelf, (work / record.NAME).open("wb") as out:
        composer = Composer(people, account, shelf.keep)
        record.write(composer.entries(events), out)
    return composer.transcript()


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Hold the work folder; the lock ends with the process, however it ends."""
    with (work / "lock").open("w") as lock:
        _hold(lock)
        yield


def _hold(lock: IO[str]) -> None:
    """A process that was just being started when its parent was killed still holds the lock for a moment."""
    for pause in (*HELD_FOR_A_MOMENT, None):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if pause is None:
                raise UnderWay("This export is being made just now.") from None
            time.sleep(pause)


def _press(work: Path, settings: Settings) -> Press:
    return Press(
        work,
        settings.fonts,
        workers=settings.workers,
        time_limit=settings.time_limit,
        entries=settings.volume_entries,
    )


def _place_volumes(drawn: Iterable[Path], folder: Path) -> list[str]:
    paths = list(drawn)
    names = ["transcript.pdf"] if len(paths) == 1 else [f"transcript-{n:03d}.pdf" for n in range(1, len(paths) + 1)]
    for path, name in zip(paths, names, strict=True):
        shutil.copyfile(path, folder / name)
    return names


def _fill(
    folder: Path, work: Path, transcript: Transcript, settings: Settings, volumes: list[str], problems: tuple[str, ...]
) -> None:
    """Everything beside the PDFs, the manifest and its signature last."""
    shutil.copyfile(work / record.NAME, folder / record.NAME)
    paths = dict.fromkeys(_paths(work))
    members = bundle.zip_media(work / bundle.INDEX, work / "media", folder / bundle.MEDIA, paths)
    if settings.rsmf:
        rsmf.write(transcript, work, folder)
    bundle.write_readme(folder / bundle.README, volumes, settings.key)
    bundle.seal(folder, transcript, members, problems, settings.key)


def _paths(work: Path) -> Iterator[str]:
    """The paths of the files that the record names, in its order."""
    with (work / record.NAME).open("rb") as lines:
        for line in lines:
            if b'"path":"media/' in line:
                yield from filter(None, (file["path"] for file in record.files(record.loads(line))))


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _wanted_first(path: Path) -> tuple[int, str]:
    order = (".pdf", ".zip", ".jsonl", ".rsmf", ".txt", ".json", ".sig")
    return order.index(path.suffix), path.name
