"""What the documents and the help say is true."""

import re

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
