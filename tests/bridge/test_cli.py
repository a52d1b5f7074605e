"""The program `qwil` as it is typed, and as other programs run it."""

import errno
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge import config, registration
from bridge.cli import main

ROOT = Path(__file__).parents[2]

POLICY = """\
organisations:
  hillside:
    name: Hillside Primary
    mobile: optional
    people:
      head: {name: Ada Head, role: staff, admin: system, email: a@hillside.example, matrix: "@head:hillside.example"}
      t.ray: {name: Tim Ray, role: staff, email: t@hillside.example, matrix: "@t.ray:hillside.example"}
      p.chan: {name: Mei Chan, role: client, email: c@chan.example, matrix: "@p.chan:hillside.example"}
      p.north: {name: Zoë North, role: client, email: n@north.example, matrix: "@p.north:hillside.example"}
    books:
      year-1: {name: Year 1, members: [t.ray, p.chan]}
      year-5: {name: Year 5, members: [head, p.north]}
tests:
  - name: parents of different years do not meet
    ask: {do: start_chat, who: hillside/p.chan, with: [hillside/p.north]}
    allowed: false
    because: [BOOK-8]
"""


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY, "utf-8")
    return str(path)


@pytest.fixture
def broken_policy(tmp_path: Path) -> str:
    path = tmp_path / "broken.yaml"
    path.write_text(POLICY.replace("[t.ray, p.chan]", "[t.rey, p.chan]"), "utf-8")
    return str(path)


def qwil(*words: str, **options: object) -> "subprocess.CompletedProcess[str]":
    """The program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "bridge", *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
        **options,
    )  # fmt: skip


def answers(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


# check


def test_check_finds_nothing_in_a_good_policy(policy: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["check", policy])

    assert status == 0
    assert capsys.readouterr().out == "policy.yaml is good: 1 organisation, 2 books, 4 members.\n"


def test_check_tells_each_mistake_with_its_place(broken_policy: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["check", broken_policy])

    assert status == 1
    assert 'broken.yaml:11:40: unknown person "t.rey" — did you mean "t.ray"?' in capsys.readouterr().out


def test_check_warns_apart_from_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.replace(', matrix: "@p.chan:hillside.example"', ""))

    status = main(["check", str(path)])

    said = capsys.readouterr()
    assert status == 0
    assert said.err.startswith("warning: hillside: p.chan is active without a Matrix ID")
    assert "warning" not in said.out


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("[BOOK-8]", "[BOOK-88]", "there is no rule BOOK-88"),
        ("hillside/p.north]", "hillside/p.nord]", 'unknown person "hillside/p.nord"'),
        ("do: start_chat", "do: strat_chat", 'did you mean "start_chat"?'),
    ],
)
def test_check_looks_whether_tests_ask_anything(
    right: str, wrong: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert right in POLICY
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.replace(right, wrong))

    status = main(["check", str(path)])

    out = capsys.readouterr().out
    assert status == 1
    assert said in out
    assert out.startswith("policy.yaml:")
    assert "is good" not in out


def test_check_warns_of_networks_for_staff_of_nobody(
    policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    example = (ROOT / "config.example.yaml").read_text()
    config.write_text(example.replace("staff_networks: {}", "staff_networks: {hilside: [192.0.2.0/24]}"))

    status = main(["check", policy, "-c", str(config)])

    said = capsys.readouterr()
    assert status == 0
    assert 'warning: config.yaml says where staff of "hilside" may accept' in said.err
    assert 'did you mean "hillside"?' in said.err


def test_check_answers_programs_with_one_object(broken_policy: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["check", broken_policy, "--json"])

    found = json.loads(capsys.readouterr().out)
    assert status == 1
    assert found["good"] is False
    assert {key: found["mistakes"][0][key] for key in ("file", "line", "column")} == {
        "file": "broken.yaml",
        "line": 11,
        "column": 40,
    }
    assert found["warnings"] == []


@pytest.mark.parametrize("words", [["check"], ["ask", "see"], ["test"]])
def test_a_policy_that_is_not_there_is_named_without_a_traceback(words: list[str], tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere.yaml")

    run = qwil(words[0], missing, *words[1:])

    assert run.returncode == (2 if words[0] == "ask" else 1)
    assert "nowhere.yaml" in run.stdout + run.stderr
    assert "there is no such file" in run.stdout + run.stderr
    assert "Traceback" not in run.stderr


def test_a_folder_is_no_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["check", str(tmp_path)])

    assert status == 1
    assert "this is a folder" in capsys.readouterr().out


def test_a_policy_in_another_encoding_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes(POLICY.encode("utf-16"))

    status = main(["check", str(path)])

    assert status == 1
    assert capsys.readouterr().out.startswith("policy.yaml:1:1: ")


def test_a_file_that_may_not_be_read_is_told_so(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)

    status = main(["check", policy])

    assert status == 1
    assert "you may not read" in out.getvalue()


# ask


def test_ask_says_yes_with_exit_status_0(policy: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["ask", policy, "start_chat", "--who", "hillside/p.chan", "--with", "hillside/t.ray"])

    assert status == 0
    assert json.loads(capsys.readouterr().out) == {"allowed": True, "because": [], "kind": "client"}


def test_ask_says_no_with_exit_status_1_and_every_rule(policy: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["ask", policy, "see", "--who", "hillside/p.chan", "--whom", "hillside/p.north"])

    answer = json.loads(capsys.readouterr().out)
    assert status == 1
    assert [reason["rule"] for reason in answer["because"]] == ["BOOK-8"]


def test_ask_says_what_is_no_question_with_exit_status_2(policy: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["ask", policy, "see", "--who", "hillside/p.chen", "--whom", "hillside/p.north"])

    answer = json.loads(capsys.readouterr().out)
    assert status == 2
    assert answer["allowed"] is False
    assert answer["because"] == []
    assert "p.chan" in answer["error"]


def test_ask_answers_nothing_from_a_policy_with_mistakes(
    broken_policy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["ask", broken_policy, "see", "--who", "hillside/head", "--whom", "hillside/t.ray"])

    said = capsys.readouterr()
    assert status == 2
    assert said.out == ""
    assert "t.rey" in said.err


def test_ask_finds_people(policy: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["ask", policy, "search", "--who", "@head:hillside.example", "--text", "zoe", "--limit", "1"])

    answer = json.loads(capsys.readouterr().out)
    assert status == 0
    assert [person["person"] for person in answer["people"]] == ["hillside/p.north"]
    assert answer["people"][0]["name"] == "Zoë North"


def test_a_chat_is_described_by_options(policy: str, capsys: pytest.CaptureFixture[str]) -> None:
    chat = ["--home", "hillside", "--participants", "hillside/head, hillside/t.ray", "--former", "hillside/p.chan"]

    barred = main(["ask", policy, "add", "--who", "hillside/t.ray", "--whom", "hillside/p.chan", *chat, "--staff-only"])
    refused = json.loads(capsys.readouterr().out)
    let_in = main(["ask", policy, "add", "--who", "hillside/t.ray", "--whom", "hillside/p.chan", *chat])

    assert (barred, let_in) == (1, 0)
    assert [reason["rule"] for reason in refused["because"]] == ["CHAT-10"]


def test_a_chat_is_described_by_json(policy: str, capsys: pytest.CaptureFixture[str]) -> None:
    chat = json.dumps({"organisation": "hillside", "participants": ["hillside/p.chan", "hillside/t.ray"]})

    status = main(["ask", policy, "remove", "--who", "hillside/p.chan", "--whom", "hillside/t.ray", "--chat", chat])

    assert status == 1
    assert "PART-7" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["see", "--batch", "-"],
        ["leave", "--chat", "{"],
        ["leave", "--chat", "[" * 100_000],
        ["leave", "--chat", "{}", "--home", "hillside"],
    ],
)
def test_a_command_that_makes_no_sense_is_a_usage_error(
    policy: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["ask", policy, *words])

    assert ended.value.code == 2
    assert "usage: qwil ask" in capsys.readouterr().err


def test_a_question_about_a_day_ahead_is_answered_for_that_day(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.replace("t.ray: {", "t.ray: {until: 2026-12-31, "))
    question = ["ask", str(path), "see", "--who", "hillside/p.chan", "--whom", "hillside/t.ray"]

    statuses = [main([*question, "--on", "2026-12-31"]), main([*question, "--on", "2027-01-01"])]

    capsys.readouterr()
    assert statuses == [0, 1]


def test_a_batch_has_an_answer_for_each_line(policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    questions = tmp_path / "questions.jsonl"
    questions.write_bytes(
        b'\xef\xbb\xbf{"do": "see", "who": "hillside/p.chan", "whom": "hillside/t.ray"}\r\n'
        b"\n"
        b"[[[\n"
        b'{"do": "see", "who": "hillside/p.chan", "whom": "\xff"}\n'
        b'{"do": "see", "who": "hillside/p.chan", "whom": "hillside/p.north"}'
    )

    status = main(["ask", policy, "--batch", str(questions)])

    said = answers(capsys.readouterr().out)
    assert status == 0
    assert [answer["allowed"] for answer in said] == [True, False, False, False, False]
    assert ["error" in answer for answer in said] == [False, True, True, True, False]


def test_a_program_that_waits_for_each_answer_gets_it(policy: str) -> None:
    line = '{"do": "see", "who": "hillside/p.chan", "whom": "hillside/t.ray"}\n'
    with subprocess.Popen(
        [sys.executable, "-m", "bridge", "ask", policy, "--batch", "-"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as program:  # fmt: skip
        assert program.stdin is not None
        assert program.stdout is not None
        said = []
        for _ in range(3):
            program.stdin.write(line)
            program.stdin.flush()
            said.append(json.loads(program.stdout.readline())["allowed"])
        program.stdin.close()

        assert program.wait(300) == 0
    assert said == [True, True, True]


def test_a_missing_batch_is_named(policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["ask", policy, "--batch", str(tmp_path / "none.jsonl")])

    assert status == 2
    assert capsys.readouterr().err == f"qwil ask: {tmp_path / 'none.jsonl'}: there is no such file\n"


def test_half_a_character_on_the_command_line_is_answered_in_json(policy: str) -> None:
    words = [sys.executable, "-m", "bridge", "ask", policy, "see", "--who", b"hillside/\xff", "--whom", "hillside/head"]

    run = subprocess.run(words, cwd=ROOT, capture_output=True, check=False, env={**os.environ, "LC_ALL": "C"})

    assert run.returncode == 2
    assert "error" in json.loads(run.stdout)


# On a terminal, in a pipe


def on_a_terminal(*words: str) -> tuple[str, str]:
    """What the program says to a terminal, and what to a pipe on its standard output."""
    master, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "bridge", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=terminal, text=True
    ) as program:
        os.close(terminal)
        out, _ = program.communicate(timeout=300)
    os.set_blocking(master, False)
    seen = b"".join(_read_all(master))
    os.close(master)
    return seen.decode(), out


def _read_all(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            return
        if not piece:
            return
        yield piece


def test_a_person_at_a_terminal_reads_a_sentence_besides(policy: str) -> None:
    words = ["ask", policy, "see", "--who", "hillside/p.chan", "--whom", "hillside/p.north"]

    seen, out = on_a_terminal(*words)

    assert seen.startswith("Refused by BOOK-8: ")
    assert json.loads(out)["allowed"] is False
    assert qwil(*words).stderr == ""


def test_long_work_shows_progress_on_a_terminal_alone(policy: str, tmp_path: Path) -> None:
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"do": "see", "who": "hillside/p.chan", "whom": "hillside/t.ray"}\n' * 2000)

    seen, out = on_a_terminal("ask", policy, "--batch", str(questions))

    assert "1,000 questions answered" in seen
    assert len(answers(out)) == 2000
    assert qwil("ask", policy, "--batch", str(questions)).stderr == ""


def test_a_reader_who_has_enough_ends_the_program_quietly(policy: str, tmp_path: Path) -> None:
    questions = tmp_path / "questions.jsonl"
    questions.write_text("{}\n" * 50_000)
    with subprocess.Popen(
        [sys.executable, "-m", "bridge", "ask", policy, "--batch", str(questions)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as program:  # fmt: skip
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.readline()
        program.stdout.close()

        assert program.stderr.read() == b""
        assert program.wait(300) == 141


def heed_ctrl_c() -> None:
    """Who is started in the background, as a run of tests may be, ignores it, and so does whatever they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_ends_the_program_quietly(policy: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "bridge", "ask", policy, "--batch", "-"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_ctrl_c,
    ) as program:  # fmt: skip
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdin.write(b"{}\n")
        program.stdin.flush()
        program.stdout.readline()
        program.send_signal(signal.SIGINT)

        assert program.wait(300) == 130
        assert program.stderr.read() == b""


# test


def test_the_administrators_own_tests_are_run(policy: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["test", policy])

    assert status == 0
    assert capsys.readouterr().out.splitlines() == [
        "as expected: parents of different years do not meet",
        "1 tests, 1 as expected, 0 not.",
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[BOOK-8]", "[BOOK-6]"), "expected refused by BOOK-6, but refused by BOOK-8"),
        (("allowed: false\n    because: [BOOK-8]", "allowed: true"), "expected allowed, but refused by BOOK-8"),
        (("hillside/p.north]", "hillside/p.nord]"), "this is no question: unknown person"),
    ],
)
def test_a_test_that_fails_is_told_with_its_place(
    tmp_path: Path, change: tuple[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.replace(*change))

    status = main(["test", str(path)])

    line = capsys.readouterr().out.splitlines()[0]
    assert status == 1
    assert line.startswith("policy.yaml:14:5: not as expected: parents of different years do not meet: ")
    assert said in line


# registration


@pytest.fixture
def example(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text((ROOT / "config.example.yaml").read_text())
    return path


def test_registration_gives_both_files_the_same_fresh_tokens(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["registration", "-c", str(example)])

    written = (example.parent / "registration.yaml").read_text()
    appservice = config.load(example).appservice
    capsys.readouterr()
    assert status == 0
    assert registration.token_objection(config.load(example)) is None
    assert appservice.as_token in written
    assert appservice.hs_token in written


def test_registration_makes_other_tokens_each_time(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["registration", "-c", str(example)])
    first = config.load(example).appservice.as_token

    main(["registration", "-c", str(example)])

    capsys.readouterr()
    assert config.load(example).appservice.as_token != first


def test_a_new_registration_is_for_its_owner_alone_and_nothing_is_left_beside_it(
    example: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["registration", "-c", str(example)])

    capsys.readouterr()
    assert (example.parent / "registration.yaml").stat().st_mode & 0o777 == 0o600
    assert example.stat().st_mode & 0o007 == 0
    assert {path.name for path in example.parent.iterdir()} == {"config.yaml", "registration.yaml"}


def test_a_configuration_with_mistakes_gets_no_registration(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example.write_text(example.read_text().replace("server_name:", "servername:"))

    status = main(["registration", "-c", str(example)])

    assert status == 1
    assert "config.yaml:" in capsys.readouterr().err
    assert not (example.parent / "registration.yaml").exists()


# run


def test_the_bridge_does_not_start_with_the_examples_tokens(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["run", "-c", str(example)])

    assert status == 1
    assert "qwil registration -c" in capsys.readouterr().err


def test_a_missing_configuration_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["run", "-c", str(tmp_path / "config.yaml")])

    assert status == 1
    assert "config.yaml:1:1: this file cannot be read" in capsys.readouterr().err


# The program as a whole


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])

    assert ended.value.code == 0
    assert re.fullmatch(r"qwil \d+\.\d+\.\d+\n", capsys.readouterr().out)


CORE_ALONE = """
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        known = sys.stdlib_module_names | {"bridge", "policy", "ruamel", "_ruamel_yaml"}
        if top not in known and not top.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nothing())
from bridge.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "words",
    [["check"], ["ask", "see", "--who", "hillside/head", "--whom", "hillside/p.north"], ["test"]],
    ids=lambda words: words[0],
)
def test_the_core_alone_is_enough_to_check_ask_and_test(policy: str, words: list[str]) -> None:
    run = subprocess.run(
        [sys.executable, "-c", CORE_ALONE, words[0], policy, *words[1:]],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip

    assert (run.returncode, run.stderr) == (0, "")


def test_a_missing_extra_is_named_with_how_to_install_it(example: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", CORE_ALONE, "run", "-c", str(example)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip

    assert run.returncode == 1
    assert "pip install 'qwil[bridge]'" in run.stderr
    assert "Traceback" not in run.stderr
