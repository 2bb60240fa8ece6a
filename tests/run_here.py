"""Run what `train.py` runs in this process: a few hundred milliseconds in place of seconds."""

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict

from noisereg.config.composing import conf_dir
from noisereg.training.run import run


def start(folder, *overrides):
    """Run as `python train.py` does with these overrides, in a folder."""
    folder.mkdir(exist_ok=True)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("train", overrides=list(overrides), return_hydra_config=True)
        with open_dict(config):
            config.hydra.runtime.output_dir, config.hydra.mode = str(folder), "RUN"
        HydraConfig.instance().set_config(config)
        with open_dict(config):
            del config["hydra"]
        try:
            return run(config)
        finally:
            HydraConfig.instance().cfg = None
