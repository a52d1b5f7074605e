"""A whole export: the same bytes for the same record, whatever happens on the way."""

from __future__ import annotations

import fcntl
import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from PIL import Image

from bridge.transcript import assemble, bundle, pages, record
from bridge.transcript.assemble import Exported, UnderWay
from bridge.transcript.verify import verify
from tests.transcript.conftest import Make
from tests.transcript.export_process import VOLUME, Steps, export_trip
from tests.transcript.room import ANN, PAT, Room, picture, school_trip

GOLDEN = Path(__file__).with_name("school_trip.jsonl")
ROOT = Path(__file__).parents[2]
NEVER = Steps(0)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_record_of_the_school_trip_is_what_it_has_always_been(trip: Exported) -> None:
    """`school_trip.jsonl` was read by a person, line by line; a change of it is a change of every export."""
    assert (trip.folder / record.NAME).read_text() == GOLDEN.read_text()


def test_every_entry_has_the_fields_that_the_interface_names(trip: Exported) -> None:
    for line in record.lines(trip.folder / record.NAME):
        assert list(line)[:8] == ["number", "event_id", "kind", "time", "sender", "text", "reply_to", "file"]
        assert list(line["sender"]) == ["matrix", "name", "role", "organisation"]


def test_an_export_is_for_the_eyes_of_whoever_made_it(trip: Exported) -> None:
    assert trip.folder.stat().st_mode & 0o777 == 0o700


def test_an_export_holds_what_the_interface_names(trip: Exported) -> None:
    assert [file.name for file in trip.files] == [
        "transcript.pdf", "media.zip", "messages.jsonl", "README.txt", "manifest.json", "manifest.sig",
    ]  # fmt: skip


def test_the_same_record_makes_the_same_bytes(make: Make, trip: Exported) -> None:
    assert contents(make(school_trip()).folder) == contents(trip.folder)


def test_a_long_chat_comes_in_volumes_that_quote_each_other(make: Make) -> None:
    export = make(school_trip(), set_to={"volume_entries": 8})

    assert [pdf.name for pdf in export.pdfs] == [f"transcript-{place:03d}.pdf" for place in range(1, 6)]
    assert verify(export.folder).good


def test_the_number_of_volumes_drawn_at_once_changes_nothing(make: Make) -> None:
    one = make(school_trip(), set_to={"volume_entries": 8, "workers": 1})
    three = make(school_trip(), set_to={"volume_entries": 8, "workers": 3})

    assert contents(one.folder) == contents(three.folder)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return contents(export_trip(tmp_path_factory.mktemp("whole"), Steps(0)).folder)


# 231 pieces of the picture, four of the form, then four volumes: killed in the first file, between two, within
# the second, after the first volume and after the last.
@pytest.mark.parametrize("step", [1, 100, 232, 234, 236, 238])
def test_an_export_that_was_killed_goes_on_to_the_same_bytes(
    tmp_path: Path, uninterrupted: dict[str, bytes], step: int
) -> None:
    killed = subprocess.run(
        [sys.executable, "-m", "tests.transcript.export_process", str(tmp_path), str(step)], cwd=ROOT, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    drawn = volumes(tmp_path)
    (tmp_path / "work" / "drawing-left").mkdir()

    export = export_trip(tmp_path, Steps(0))

    assert contents(export.folder) == uninterrupted
    assert len(export.pdfs) == -(-export.transcript.entries // VOLUME)
    assert not list((tmp_path / "work").glob("drawing-*"))
    assert drawn.items() <= volumes(tmp_path).items(), "a finished volume was drawn again"


def volumes(folder: Path) -> dict[str, int]:
    """Finished volumes and when they were written."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / "work" / "volumes").glob("*.json")}


def test_a_file_that_was_fetched_is_not_fetched_again(make: Make, tmp_path: Path) -> None:
    room = Room()
    room.shares(ANN, "plan.jpg", picture(), "image/jpeg")
    make(room, work=tmp_path)
    make(room, work=tmp_path)

    assert len(room.fetched) == 1


def test_a_message_more_draws_the_last_volume_again_and_no_other(make: Make, tmp_path: Path) -> None:
    """As in an export that was asked for again: but for the cover every full volume stays."""
    room = Room()
    for place in range(25):
        room.says(PAT, f"message {place}")
    make(room, work=tmp_path, set_to={"volume_entries": 10})
    before = {path.name for path in (tmp_path / "volumes").glob("*.pdf")}
    room.says(PAT, "one more")
    make(room, work=tmp_path, set_to={"volume_entries": 10})

    assert len({path.name for path in (tmp_path / "volumes").glob("*.pdf")} - before) == 2


def test_the_same_export_twice_at_once_is_made_once(make: Make, tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        with pytest.raises(UnderWay):
            make(Room(), work=tmp_path)

    make(Room(), work=tmp_path)


def test_a_lock_that_a_killed_export_leaves_for_a_moment_is_waited_for(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its fork and its exec a process that the killed one was starting holds what its parent held."""
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        monkeypatch.setattr(assemble.time, "sleep", lambda _: fcntl.flock(lock, fcntl.LOCK_UN))

        assert make(Room(), work=tmp_path).folder.exists()


def test_an_export_is_never_written_over_another(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()

    with pytest.raises(FileExistsError, match="never written over another"):
        export_trip(tmp_path, NEVER)


def test_a_volume_ends_at_so_many_entries_or_such_a_weight(tmp_path: Path) -> None:
    path = tmp_path / "record"
    path.write_bytes(b"".join(b"x" * length + b"\n" for length in (9, 9, 9, 99, 9, 9)))

    assert [cut.length for cut in pages.cuts(path, entries=2, weight=1000)] == [20, 110, 20]
    assert [cut.length for cut in pages.cuts(path, entries=100, weight=50)] == [30, 100, 20]


def test_a_line_of_text_weighs_more_than_its_letters(tmp_path: Path) -> None:
    path = tmp_path / "record"
    path.write_bytes(b'"a\\na\\na"\n' * 3)

    assert [cut.length for cut in pages.cuts(path, weight=100)] == [20, 10]


def test_pictures_weigh_what_drawing_them_takes(make: Make) -> None:
    """Two thousand photographs in one volume take the engine some gigabytes."""
    photo = Image.effect_noise((480, 360), 80).convert("RGB")
    room = Room()
    for place in range(12):
        photo.putpixel((place, 0), (255, 0, 0))
        out = io.BytesIO()
        photo.save(out, "JPEG")
        room.shares(ANN, f"{place}.jpg", out.getvalue(), "image/jpeg")
    export = make(room)
    work = export.folder.parent / "work"
    small = [path.stat().st_size // pages.THUMBNAIL for path in (work / "thumbnails").iterdir()]

    volumes = list(pages.cuts(work / record.NAME, weight=3 * (min(small) + 500)))

    assert min(small) > 500
    assert 3 < len(volumes) <= 12


def test_memory_does_not_grow_with_the_length_of_the_chat(make: Make, tmp_path: Path) -> None:
    """The events and the entries stream: nothing holds on to more than one volume's."""
    alive = 0
    most = 0

    class Counted(dict[str, object]):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def events() -> Iterable[dict[str, object]]:
        nonlocal alive, most
        for place in range(600):
            alive += 1
            most = max(most, alive)
            message = {"type": "m.room.message", "sender": PAT, "content": {"body": "hello"}}
            yield Counted(message, event_id=f"${place}", origin_server_ts=place)

    room = Room()
    room.events = events()  # type: ignore[assignment]
    make(room, set_to={"volume_entries": 400})

    assert most < 10


def test_the_record_is_json_that_any_reader_takes(trip: Exported) -> None:
    content = (trip.folder / record.NAME).read_bytes()

    assert content.endswith(b"\n")
    assert [json.loads(line)["number"] for line in content.decode().split("\n")[:-1]] == list(range(1, 37))


def test_an_export_larger_than_the_limit_comes_in_numbered_pieces(trip: Exported, tmp_path: Path) -> None:
    bundle.pack(trip.folder, tmp_path / "export.zip")
    whole = (tmp_path / "export.zip").read_bytes()

    assert bundle.split(tmp_path / "export.zip", len(whole)) == [tmp_path / "export.zip"]
    pieces = bundle.split(tmp_path / "export.zip", 100_000)

    assert [piece.name for piece in pieces[:2]] == ["export.zip.001", "export.zip.002"]
    assert all(piece.stat().st_size <= 100_000 for piece in pieces)
    assert b"".join(piece.read_bytes() for piece in pieces) == whole
    assert sorted(tmp_path.iterdir()) == pieces


def test_nothing_unfinished_is_left_lying_about(trip: Exported) -> None:
    assert not [path for path in trip.folder.parent.rglob("*") if path.suffix == ".part" or "drawing-" in path.name]
