"""What the documents and the help say is true."""

import re
from pathlib import Path

import pytest

from bridge import cli
from bridge.cli import COMMANDS, main


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_answers_help_with_an_example(command: cli.Command, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command.name, "--help"])

    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert re.search(rf"^example:\n(  .*\n)*?  qwil {command.name}( |$)", said, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_example_in_a_help_is_a_command_that_parses(command: cli.Command) -> None:
    lines = command.example.replace("\\\n", " ").splitlines()
    examples = [line.split(">")[0].split()[1:] for line in lines if line.strip().startswith("qwil ")]

    parsed = [cli._parser().parse_args(words) for words in examples]

    assert parsed
    assert {asked.command.name for asked in parsed} == {command.name}


README = Path("README.md").read_text()


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_policy_the_question_and_the_answer_of_the_readme_are_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = next(block for block in _blocks(README, "yaml") if block.startswith("organisations:"))
    question, answer = next(block for block in _blocks(README, "console") if "qwil ask" in block).splitlines()
    (tmp_path / "policy.yaml").write_text(policy)
    monkeypatch.chdir(tmp_path)

    status = main(question.removeprefix("$ qwil ").split())

    assert status == 1
    assert capsys.readouterr().out.strip() == answer


def test_the_readme_lists_every_command_and_no_other() -> None:
    listed = set(re.findall(r"^\| `qwil ([a-z]+)", README, re.MULTILINE))

    assert listed == {command.name for command in COMMANDS}


@pytest.mark.parametrize(
    "document", ["README.md", "docs/operating.md", "docs/administering.md", "docs/using.md", "ARCHITECTURE.md"]
)
def test_every_link_and_picture_of_a_document_is_there(document: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", Path(document).read_text())

    missing = [link for link in links if "://" not in link and not (Path(document).parent / link).exists()]
    assert missing == []


def test_the_code_map_of_the_architecture_names_files_that_exist() -> None:
    names = re.findall(r"`([a-z_/]+\.py|[a-z_/]+/)`", Path("ARCHITECTURE.md").read_text())

    places = [Path(), Path("policy"), Path("bridge")]
    assert [name for name in names if not any((place / name).exists() for place in places)] == []
