"""`noisereg labels RUN --output FILE`: the labels that a rule drew for the samples of a run, for other tools."""

import sys
from collections.abc import Sequence
from pathlib import Path

from noisereg.terminal import guard_output, open_console, plain_text
from noisereg.training.drawn_labels import write_labels
from noisereg.training.run_arguments import load_asked, replica_asked, run_parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the labels of one replica.

    Args:
        arguments: of the command line; by default those of this process.

    Returns:
        The exit code: 0, or 2 for bad input, which is one line on stderr.
    """
    guard_output()
    parser = run_parser("labels", __doc__)
    parser.add_argument("--epoch", type=int, metavar="N", help="from 0, of noise that is drawn anew in each epoch")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="that is new, .csv or .npy")
    asked = parser.parse_args(arguments)
    try:
        table = load_asked(asked).labels(epoch=asked.epoch, **replica_asked(asked))
        write_labels(table, asked.output)
    except (ValueError, OSError) as error:
        print(plain_text(f"error: {error}"), file=sys.stderr)
        return 2
    rate = (table["clean"] != table["given"]).mean()
    line = f"{asked.output}: the labels of {len(table):,} training samples, {rate:.2%} of them not the clean ones"
    open_console().print(line, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
