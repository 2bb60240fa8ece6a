import io
import os
import re
import subprocess
import sys
from argparse import ArgumentParser

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from noisereg.terminal import open_console, plain_text, print_lines, run_command

PRINTS = """
import sys
from noisereg.terminal import guard_output
guard_output()
for number in range(20_000):
    print("a ± b" if number == 0 else number, flush=number % 100 == 0)
print("to stderr ±", file=sys.stderr)
sys.exit(7)
"""


def run_printing(stdout, **environment):
    return subprocess.run(
        [sys.executable, "-c", PRINTS],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize("text", ["out/[/old]", "[red]x", "[/]", ":smile:", "[link=a]b", "\\[bold]"])
def test_a_text_is_printed_as_it_is(text, capsys):
    table = Table("a", box=None, show_header=False, padding=0)
    table.add_row(text)
    console = open_console()
    console.print(text)
    console.print(table)
    assert capsys.readouterr().out == f"{text}\n{text}\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;owned\x1b", r"\x1b[2J\x1b]0;owned\x1b"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202efdp.exe", r"\u202efdp.exe"),
        ("\u2066x\u2069", r"\u2066x\u2069"),
        ("\ud800", r"\ud800"),
        ("ä 日本 \u200d ±", "ä 日本 \u200d ±"),
    ],
)
def test_what_a_terminal_would_obey_is_shown(text, shown, capsys):
    console = open_console()
    console.print(text)
    console.print(Text(text))
    assert capsys.readouterr().out == f"{shown}\n{shown}\n"
    assert plain_text(f"{text}\n\t\r\x07") == rf"{shown}" + "\n\t" + r"\r\x07"


@pytest.mark.parametrize("kind", ["closed pipe", "full disk"])
def test_a_stream_that_fails_ends_nothing(kind):
    if kind == "closed pipe":
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open("/dev/full", os.O_WRONLY)
    try:
        done = run_printing(writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr.decode()) == (7, "to stderr ±\n")


def test_what_the_encoding_lacks_is_replaced():
    done = run_printing(subprocess.PIPE, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout.split(b"\n")[0], done.stderr) == (7, b"a ? b", b"to stderr ?\n")
    assert len(done.stdout.splitlines()) == 20_000


@pytest.mark.parametrize("is_terminal", [True, False])
def test_no_colours_are_printed_where_none_are_wanted_and_no_escape_at_all_without_a_terminal(is_terminal, monkeypatch):
    table = Table("a")
    table.add_row(Text("red", style="red"), style="green")
    for name, value in (("NO_COLOR", "1"), ("TERM", "xterm-256color"), ("TTY_COMPATIBLE", str(int(is_terminal)))):
        monkeypatch.setenv(name, value)
    console = open_console()
    assert console.is_terminal == is_terminal
    console.file = io.StringIO()
    console.print(table)
    printed = console.file.getvalue()
    assert "red" in printed and ("\x1b[1m" in printed) == is_terminal
    assert not re.search(r"\x1b\[[\d;]*[349]\d", printed)


@pytest.mark.parametrize(
    "error", [ValueError("p must be in [0, 1], \x1b[2J got 2"), FileNotFoundError("no \x1b[2J file")]
)
def test_bad_input_of_a_command_is_one_line_on_stderr_that_no_terminal_obeys(error, capsys):
    def command(asked, console):
        raise error

    assert run_command(command, parser=ArgumentParser(), arguments=[]) == 2
    assert capsys.readouterr().err == f"error: {error}\n".replace("\x1b", r"\x1b")


def test_a_command_that_is_interrupted_ends_in_a_line(capsys):
    def command(asked, console):
        raise KeyboardInterrupt

    assert run_command(command, parser=ArgumentParser(), arguments=[]) == 130
    assert capsys.readouterr().err == "stopped by ctrl-c\n"


def test_a_command_has_what_its_parser_reads_and_its_own_exit_code(capsys):
    parser = ArgumentParser()
    parser.add_argument("--code", type=int)
    for given, code in ((["--code", "1"], 1), ([], 0)):
        assert run_command(lambda asked, console: asked.code, parser=parser, arguments=given) == code
    with pytest.raises(ZeroDivisionError):  # a fault of ours is no bad input
        run_command(lambda asked, console: 1 // 0, parser=parser, arguments=[])


def test_lines_are_printed_one_below_the_other_and_not_wrapped():
    console = Console(file=io.StringIO(), width=20)
    print_lines(console, "x" * 50, "two")
    assert console.file.getvalue() == "x" * 50 + "\ntwo\n"
