"""What a configuration from a stranger may not do: build what it likes, steer Hydra, or carry a secret into files."""

from noisereg.safety.hydra_section import check_hydra
from noisereg.safety.secrets import check_secrets
from noisereg.safety.targets import check_object, check_targets, targets

__all__ = ["check_hydra", "check_object", "check_secrets", "check_targets", "targets"]
