import os
import subprocess
import sys

import pytest
from rich.table import Table
from rich.text import Text

from noisereg.terminal import open_console, plain_text

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
