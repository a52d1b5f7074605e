"""Exporting against its engine alone, writing the record against bare json, checking against sha256sum.

The whole export runs in a process of its own, as a program: `python -m bridge.bench.exporting FOLDER`. Seconds are
those of the processor, children included, since volumes are drawn by processes of their own.
"""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from nacl.signing import SigningKey

from bridge.bench import long_chat
from bridge.bench.measure import Row, in_turns, seconds_of
from bridge.bench.size import Say, Size
from bridge.transcript import draw, fonts, record
from bridge.transcript.assemble import Settings, export
from bridge.transcript.compose import Composer
from bridge.transcript.model import Account, File, Milliseconds, Person
from bridge.transcript.offers import Offer
from bridge.transcript.render_pdf import Press
from bridge.transcript.verify import verify

NAME = "export"
TIMES, MEMORY, RECORD_TIMES, VERIFY_TIMES = 1.3, 600, 2, 0.5
KEY = SigningKey(b"a key of the benchmarks, 32 byte")
WORKERS = 2
ALONE_ROUNDS = 3
LONG = 10_000
"""Messages from which on one round of the whole has to do."""

READ = "SELECT json FROM events ORDER BY arrival"


def measure(size: Size, say: Say) -> Iterator[Row]:
    """For each length: the whole by the engine alone, its memory, the record, the check."""
    for length in size.chats:
        with tempfile.TemporaryDirectory(prefix="qwil-bench-") as name:
            yield from _of_length(Path(name), length, size, say)


def _of_length(folder: Path, length: int, size: Size, say: Say) -> Iterator[Row]:
    say(f"{NAME}: writing {length:,} messages")
    _write_database(folder / "record.db", length)
    _write_uploads(folder / "uploads", length)
    messages = f"{length:,} messages"
    rounds = [_round(folder, number, say) for number in range(1 if length >= LONG else min(size.rounds, ALONE_ROUNDS))]
    ratios = tuple(ours / alone for ours, alone, _ in rounds)
    detail = f"{rounds[0][0]:.1f} s against {rounds[0][1]:.1f} s of the processor"
    yield Row(NAME, f"{messages}: the whole export against typst alone", ratios, TIMES, detail=detail)
    most = tuple(memory for *_, memory in rounds)
    yield Row(NAME, f"{messages}: memory of its largest process", most, MEMORY, unit=" MiB")
    say(f"{NAME}: the record alone")
    turns = in_turns(lambda: _our_record(folder), lambda: _bare_record(folder), size.rounds)
    detail = f"{min(turns.ours):.2f} s against {min(turns.theirs):.2f} s"
    what = f"{messages}: messages.jsonl against reading the events and dumping them with json"
    yield Row(NAME, what, turns.ratios, RECORD_TIMES, detail=detail)
    yield _checked(folder / "out-0", messages, size, say)


def _checked(out: Path, messages: str, size: Size, say: Say) -> Row:
    say(f"{NAME}: checking")
    files = ["sha256sum", *map(str, sorted(out.iterdir()))]
    sides = [(seconds_of(lambda: verify(out)), _seconds(files)) for _ in range(size.rounds)]
    speeds = tuple(max(theirs, 1e-3) / max(ours, 1e-3) for ours, theirs in sides)
    detail = f"{min(ours for ours, _ in sides):.3f} s against {min(theirs for _, theirs in sides):.3f} s"
    what = f"{messages}: checking, as fast as sha256sum over the same files"
    return Row(NAME, what, speeds, VERIFY_TIMES, "at least", detail=detail)


def _round(folder: Path, number: int, say: Say) -> tuple[float, float, float]:
    """Seconds of ours and of the engine alone, and the mebibytes of our largest process."""
    say(f"{NAME}: the whole export, round {number + 1}")
    command = [sys.executable, "-m", "bridge.bench.exporting", str(folder), str(number)]
    ran = subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - this program
    said = json.loads(ran.stdout)
    volumes = _laid_out(folder, number)
    say(f"{NAME}: typst alone, round {number + 1}")
    before = _children()
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(_drawn_alone, volumes))
    return said["seconds"], _children() - before, said["mebibytes"]


def _laid_out(folder: Path, number: int) -> list[Path]:
    """The very volumes, ready to be drawn again."""
    work = folder / f"work-{number}"
    with closing(sqlite3.connect(folder / "record.db")) as database:
        composer = Composer(long_chat.PEOPLE, _account(), _Kept(work).file)
        for _ in composer.entries(row[0] for row in database.execute(READ)):
            pass
    press = Press(work, fonts.find(), workers=WORKERS)
    volumes = []
    for place, sheet in enumerate(press.sheets(composer.transcript())):
        volumes.append(folder / f"alone-{number}-{place}")
        volumes[-1].mkdir()
        press.lay_out(sheet, volumes[-1])
    return volumes


def _drawn_alone(volume: Path) -> None:
    subprocess.run([sys.executable, "-P", draw.__file__, str(volume)], check=True, capture_output=True)  # noqa: S603 - our own program


class _Kept:
    """What the shelf of an export said of its files."""

    def __init__(self, work: Path) -> None:
        self._files = {line["number"]: line["file"] for line in record.lines(work / record.NAME) if line["file"]}

    def file(self, number: int, _sender: Person, _time: Milliseconds | None, offer: Offer) -> File:
        kept = self._files.get(number)
        return File(**kept) if kept is not None else File(offer.name, offer.mimetype)


def _our_record(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "record.db")) as database, (folder / "ours.jsonl").open("wb") as out:
        composer = Composer(long_chat.PEOPLE, _account(), _no_file)
        record.write(composer.entries(row[0] for row in database.execute(READ)), out)


def _bare_record(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "record.db")) as database, (folder / "bare.jsonl").open("w") as out:
        for row in database.execute(READ):
            out.write(json.dumps(json.loads(row[0]), ensure_ascii=False) + "\n")


def _no_file(_number: int, _sender: Person, _time: Milliseconds | None, offer: Offer) -> File:
    return File(offer.name, offer.mimetype)


def _write_database(path: Path, length: int) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE events (arrival INTEGER PRIMARY KEY, json TEXT NOT NULL)")
        texts = ((long_chat.as_json(event),) for event in long_chat.events(length))
        database.executemany("INSERT INTO events (json) VALUES (?)", texts)
        database.commit()


def _write_uploads(folder: Path, length: int) -> None:
    folder.mkdir()
    for event in long_chat.events(length):
        if mxc := event["content"].get("url"):
            (folder / mxc.rpartition("/")[2]).write_bytes(long_chat.picture(mxc))


def _account() -> Account:
    exporter = next(iter(long_chat.PEOPLE.values()))
    return Account("QX-BENCH", exporter, long_chat.START, long_chat.ROOM, "staff", ("Hillside",))


def _seconds(command: list[str]) -> float:
    before = _children()
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own programs
    return _children() - before


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _used() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main() -> None:
    """Export the chat in the folder, and print what that took."""
    folder, number = Path(sys.argv[1]), sys.argv[2]

    def events() -> Iterator[str]:
        with closing(sqlite3.connect(folder / "record.db")) as database:
            yield from (row[0] for row in database.execute(READ))

    # A bridge that makes exports is running already: what Python needs to start is no part of them.
    before = _used()
    export(
        _account(),
        events,
        long_chat.PEOPLE,
        lambda mxc: iter([(folder / "uploads" / mxc.rpartition("/")[2]).read_bytes()]),
        work=folder / f"work-{number}",
        out=folder / f"out-{number}",
        settings=Settings(KEY, fonts.find(), workers=WORKERS),
    )
    seconds = _used() - before
    used = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps({"seconds": seconds, "mebibytes": max(used) / 1024}))


if __name__ == "__main__":
    main()
