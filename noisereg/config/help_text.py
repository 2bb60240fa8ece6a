"""The help of the program, from the files of the configuration alone: Hydra's own way to it takes seconds."""

from pathlib import Path
from string import Template

from omegaconf import OmegaConf


def compose_help(folder: Path) -> str:
    """Return what `--help` prints: the template in train.yaml, with the options of each group in their place.

    Args:
        folder: of the configuration.

    Example:
        >>> from noisereg.config.composing import conf_dir
        >>> "optimizer: adam, sgd" in compose_help(conf_dir())
        True
    """
    template = str(OmegaConf.load(folder / "train.yaml").hydra.help.template)
    options: dict[str, list[str]] = {}
    for path in folder.glob("*/**/*.yaml"):
        options.setdefault(path.parent.relative_to(folder).as_posix(), []).append(path.stem)
    groups = sorted((group, names) for group, names in options.items() if group.partition("/")[0] != "hydra")
    lines = (f"{group}: {', '.join(sorted(names))}\n" for group, names in groups)
    return Template(template).substitute(APP_CONFIG_GROUPS="".join(lines))
