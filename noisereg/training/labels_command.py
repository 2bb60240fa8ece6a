"""`noisereg labels RUN --output FILE`: the labels that a rule drew for the samples of a run, for other tools."""

from argparse import Namespace
from collections.abc import Sequence

from rich.console import Console

from noisereg.parsers import labels_parser
from noisereg.terminal import print_lines, run_command
from noisereg.training.drawn_labels import write_labels
from noisereg.training.run_arguments import load_asked, replica_asked


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the labels of one replica."""
    return run_command(_write_drawn, parser=labels_parser(), arguments=arguments)


def _write_drawn(asked: Namespace, console: Console) -> None:
    table = load_asked(asked, console).labels(epoch=asked.epoch, **replica_asked(asked))
    write_labels(table, asked.output)
    rate = (table["clean"] != table["given"]).mean()
    of = f"{len(table):,} training samples, {rate:.2%} of them not the clean ones"
    print_lines(console, f"{asked.output}: the labels of {of}")
