"""What a check says about an export that somebody changed."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from bridge.transcript import bundle, signature
from bridge.transcript import verify as verify_module
from bridge.transcript.assemble import Exported
from bridge.transcript.signature import WrongKey
from bridge.transcript.verify import NotAnExport, verify
from tests.transcript.conftest import KEY

SIGNER = signature.public_text(KEY.verify_key)


@pytest.fixture
def export(trip: Exported, tmp_path: Path) -> Path:
    """A copy to tamper with."""
    return Path(shutil.copytree(trip.folder, tmp_path / "export"))


def problems(export: Path) -> list[str]:
    found = verify(export, SIGNER)
    assert not found.good
    return list(found.problems)


def rewrite(export: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change the lines of the record."""
    record = export / "messages.jsonl"
    record.write_bytes(b"".join(change(record.read_bytes().splitlines(keepends=True))))


def test_an_untouched_export_is_good_and_names_its_signer(export: Path) -> None:
    found = verify(export, SIGNER)

    assert found.good
    assert found.signer == SIGNER
    assert found.missing == (
        "Message 16: the file “lost.pdf” is missing: The homeserver no longer has it (404 M_NOT_FOUND).",
    )


def test_the_zip_of_an_export_is_checked_as_the_folder_is(export: Path, tmp_path: Path) -> None:
    bundle.pack(export, tmp_path / "export.zip")

    assert verify(tmp_path / "export.zip", SIGNER).good


def test_the_entry_that_was_changed_is_named(export: Path) -> None:
    rewrite(
        export,
        lambda lines: [*lines[:9], lines[9].replace(b"38.5", b"36.5"), *lines[10:]],
    )

    assert problems(export) == ["messages.jsonl: entry 10 (line 10) was changed."]


def test_the_entry_that_was_removed_is_named(export: Path) -> None:
    rewrite(export, lambda lines: lines[:11] + lines[12:])

    assert problems(export) == ["messages.jsonl: entry 12 (line 12 as signed) was removed."]


def test_the_last_entries_that_were_cut_off_are_named(export: Path) -> None:
    rewrite(export, lambda lines: lines[:-2])

    assert problems(export) == [
        "messages.jsonl: entry 35 (line 35 as signed) was removed.",
        "messages.jsonl: entry 36 (line 36 as signed) was removed.",
    ]


def test_the_entry_that_was_added_is_named(export: Path) -> None:
    rewrite(export, lambda lines: [*lines[:5], lines[5].replace(b'"number":6', b'"number":99'), *lines[5:]])

    assert problems(export) == ["messages.jsonl: entry 99 (line 6) was added."]


def test_entries_that_were_reordered_are_named(export: Path) -> None:
    rewrite(export, lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]])

    assert problems(export) == ["messages.jsonl: entry 5 was moved or repeated: it is line 4 and was line 5."]


def test_an_entry_that_was_repeated_is_named(export: Path) -> None:
    rewrite(export, lambda lines: [*lines, lines[0]])

    assert problems(export) == ["messages.jsonl: entry 1 was moved or repeated: it is line 37 and was line 1."]


def test_several_changes_are_told_apart(export: Path) -> None:
    def change(lines: list[bytes]) -> list[bytes]:
        lines[20] = lines[20].replace(b"text", b"TEXT")
        return [*lines[:2], *lines[3:], b'{"number": "none"}\n']

    rewrite(export, change)

    assert problems(export) == [
        "messages.jsonl: entry 3 (line 3 as signed) was removed.",
        "messages.jsonl: entry 21 (line 20) was changed.",
        "messages.jsonl: entry without a number (line 36) was added.",
    ]


def test_white_space_that_was_changed_is_a_change(export: Path) -> None:
    rewrite(export, lambda lines: [lines[0].replace(b'":', b'": ', 1), *lines[1:]])

    assert problems(export) == ["messages.jsonl: entry 1 (line 1) was changed."]


def test_a_pdf_that_was_changed_is_named(export: Path) -> None:
    pdf = export / "transcript.pdf"
    content = bytearray(pdf.read_bytes())
    content[len(content) // 2] ^= 1
    pdf.write_bytes(content)

    assert problems(export) == ["transcript.pdf: it was changed."]


def test_a_file_that_was_removed_is_named(export: Path) -> None:
    (export / "media.zip").unlink()

    assert problems(export) == ["media.zip: it was removed."]


def test_a_file_that_was_added_is_refused(export: Path) -> None:
    (export / "transcript-002.pdf").write_bytes(b"more")
    (export / "sub").mkdir()
    (export / "sub" / "note.txt").write_bytes(b"more")

    assert problems(export) == [
        "sub/note.txt: it was added; the manifest does not list it.",
        "transcript-002.pdf: it was added; the manifest does not list it.",
    ]


def test_a_link_to_another_file_is_not_followed(export: Path, tmp_path: Path) -> None:
    (tmp_path / "same").write_bytes((export / "README.txt").read_bytes())
    (export / "README.txt").unlink()
    (export / "README.txt").symlink_to(tmp_path / "same")

    assert problems(export) == ["README.txt: it cannot be read (it is no ordinary file)."]


def test_the_shared_file_that_was_changed_removed_or_added_is_named(export: Path) -> None:
    members = dict(members_of(export / "media.zip"))
    members["media/000015-event00015.pdf"] = b"another form"
    del members["index.csv"]
    members["media/000099-x.bin"] = b"more"
    write_zip(export / "media.zip", members)

    assert problems(export) == [
        "media.zip: the file index.csv was removed from it.",
        "media.zip: the file media/000099-x.bin was added to it.",
        "media.zip: the file media/000015-event00015.pdf in it was changed.",
    ]


def test_shared_files_that_were_reordered_are_told(export: Path) -> None:
    write_zip(export / "media.zip", dict(reversed(list(members_of(export / "media.zip")))))

    assert problems(export) == ["media.zip: its files were reordered."]


def test_a_damaged_media_zip_is_told(export: Path) -> None:
    (export / "media.zip").write_bytes((export / "media.zip").read_bytes()[:-30])

    assert problems(export) == ["media.zip: it cannot be read (File is not a zip file)."]


def members_of(path: Path) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def write_zip(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_a_manifest_that_was_made_to_fit_is_not_signed(export: Path) -> None:
    manifest = json.loads((export / "manifest.json").read_bytes())
    manifest["missing"] = []
    (export / "manifest.json").write_text(json.dumps(manifest))

    assert problems(export) == ["manifest.sig: the signature is not of this manifest: one of the two was changed."]


def test_an_export_signed_anew_by_somebody_else_is_refused_by_the_published_key(export: Path) -> None:
    stranger = SigningKey(b"somebody else's key, 32 bytes...")
    (export / "manifest.sig").write_bytes(signature.sign((export / "manifest.json").read_bytes(), stranger))
    theirs = signature.public_text(stranger.verify_key)

    assert problems(export) == [f"manifest.sig: the export is signed by {theirs}, not by {SIGNER}."]
    assert verify(export).signer == theirs


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"key": 5, "signature": "x"}', b"\xff\xfe", b"[" * 100_000])
def test_a_signature_that_is_none_is_told(export: Path, content: bytes) -> None:
    (export / "manifest.sig").write_bytes(content)

    (problem,) = problems(export)
    assert problem.startswith("manifest.sig: it is no signature")


def test_without_its_signature_nobody_vouches_for_an_export(export: Path) -> None:
    (export / "manifest.sig").unlink()

    assert problems(export) == ["manifest.sig: it is missing, so that nobody vouches for this export."]


@pytest.mark.parametrize(
    "content", [b"", b"7", b'{"format": "qwil export 1"}', b"[" * 100_000, b'{"format": "qwil export 1", "files": 3}']
)
def test_a_manifest_that_is_none_is_told(export: Path, content: bytes) -> None:
    (export / "manifest.json").write_bytes(content)

    assert problems(export)[-1] == "manifest.json: it is no manifest of an export."


def sign_as_a_stranger(export: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest and sign it anew by another key."""
    manifest = json.loads((export / "manifest.json").read_bytes())
    change(manifest)
    content = json.dumps(manifest).encode()
    (export / "manifest.json").write_bytes(content)
    stranger = SigningKey(b"somebody else's key, 32 bytes...")
    (export / "manifest.sig").write_bytes(signature.sign(content, stranger))


@pytest.mark.parametrize("first", ["1", [1], {}, 1.5])
def test_a_manifest_by_a_stranger_whose_numbers_are_none_is_no_manifest(export: Path, first: object) -> None:
    rewrite(export, lambda lines: lines[1:])
    sign_as_a_stranger(export, lambda manifest: manifest["chat"].update(first=first))

    assert verify(export).problems == ("manifest.json: it is no manifest of an export.",)


def test_names_in_a_manifest_by_a_stranger_do_nothing_to_a_terminal(export: Path) -> None:
    (export / "media.zip").unlink()
    with zipfile.ZipFile(export / "media.zip", "w") as archive:
        archive.writestr("b\x1b[2J", b"other")
    listed = [{"name": name, "size": 5, "sha256": "0"} for name in ("a\x1b[2J", "b\x1b[2J")]
    sign_as_a_stranger(export, lambda manifest: manifest["media"].extend(listed))

    found = verify(export).problems

    assert r"media.zip: the file 'a\x1b[2J' was removed from it." in found
    assert r"media.zip: the file 'b\x1b[2J' in it was changed." in found
    assert all(problem.isprintable() for problem in found)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig"])
def test_a_zip_whose_manifest_cannot_be_read_is_told(export: Path, tmp_path: Path, name: str) -> None:
    bundle.pack(export, tmp_path / "export.zip")
    content = bytearray((tmp_path / "export.zip").read_bytes())
    # In its entry in the directory at the end (APPNOTE.TXT, 4.3.12): a compression that nobody knows.
    entry = content.rindex(name.encode()) - 46
    content[entry + 10 : entry + 12] = b"\x63\x00"
    (tmp_path / "export.zip").write_bytes(content)

    with pytest.raises(NotAnExport, match=f"the {name} of export.zip cannot be read"):
        verify(tmp_path / "export.zip")


def test_a_manifest_signed_by_a_stranger_reaches_no_file_outside_the_export(export: Path) -> None:
    outside = {"name": "../../../etc/passwd", "size": 5, "sha256": "0"}
    sign_as_a_stranger(export, lambda manifest: manifest["files"].append(outside))

    assert verify(export).problems == ("../../../etc/passwd: it was removed.",)


@pytest.mark.parametrize("line", [b"", b"{}", b'{"number": 1e999}', b'{"number": {}}', b"[" * 100_000, b"\xff\xfe"])
def test_a_line_that_is_no_entry_is_named_by_its_place(export: Path, line: bytes) -> None:
    rewrite(export, lambda lines: [*lines, line + b"\n"])

    assert problems(export) == ["messages.jsonl: entry without a number (line 37) was added."]


def test_a_file_that_grew_without_end_is_not_read_to_it(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_module, "MOST_ADDED", 3)
    monkeypatch.setattr(verify_module, "LONGEST_LINE", 5000)
    rewrite(export, lambda lines: [*lines, b"x" * 50_000])

    assert len(problems(export)) == 3


def test_names_that_a_stranger_chose_do_nothing_to_a_terminal(export: Path) -> None:
    (export / "a\x1b[2Jb").write_bytes(b"")

    assert problems(export) == [r"'a\x1b[2Jb': it was added; the manifest does not list it."]


def test_a_part_of_a_zip_is_said_to_be_one(export: Path, tmp_path: Path) -> None:
    bundle.pack(export, tmp_path / "export.zip")
    first, *_ = bundle.split(tmp_path / "export.zip", 1000)

    with pytest.raises(NotAnExport, match=r"It is a part of one: join the parts in their order first$"):
        verify(first)


def test_a_zip_that_has_a_file_twice_is_refused(export: Path, tmp_path: Path) -> None:
    bundle.pack(export, tmp_path / "export.zip")
    with zipfile.ZipFile(tmp_path / "export.zip", "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("transcript.pdf", b"another")

    assert "transcript.pdf: it is there twice." in problems(tmp_path / "export.zip")


def test_what_is_no_export_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"text")

    with pytest.raises(NotAnExport, match="neither a folder nor a zip"):
        verify(tmp_path / "file")
    with pytest.raises(NotAnExport, match="neither a folder nor a zip"):
        verify(tmp_path / "nowhere")
    with pytest.raises(NotAnExport, match=r"holds no manifest\.json"):
        verify(tmp_path)


@pytest.mark.parametrize("key", ["", "ed25519:", "abc", "ed25519:" + "A" * 44, "é"])
def test_a_key_that_is_none_says_what_one_looks_like(export: Path, key: str) -> None:
    with pytest.raises(WrongKey, match="is no public key: it should be ed25519: and 44 letters of base64"):
        verify(export, key)


def test_a_signing_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    first = signature.signing_key(tmp_path / "key")
    again = signature.signing_key(tmp_path / "key")

    assert bytes(first) == bytes(again)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_file_that_holds_no_signing_key_is_told(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("not a key")

    with pytest.raises(WrongKey, match="holds no signing key: it should be one line"):
        signature.signing_key(tmp_path / "key")
