"""The Hydra entry point: `python train.py`, `python -m noisereg` and the installed `noisereg-train` are this."""

import sys

import hydra
from omegaconf import DictConfig

from noisereg.command_line import check_command_line
from noisereg.config import ConfigError, conf_dir


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")
def train(config: DictConfig) -> None:
    """Train what one configuration describes."""
    from noisereg.experiment import run  # noqa: PLC0415 - loads torch, so it comes after the checks

    try:
        run(config)
    except ConfigError as error:
        sys.exit(_complain(error))


def main() -> None:
    """Check the command line whole, then hand it to Hydra. Bad input ends in one line and exit code 2."""
    try:
        check_command_line(sys.argv[1:])
    except ConfigError as error:
        sys.exit(_complain(error))
    train()


def _complain(error: ConfigError) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
