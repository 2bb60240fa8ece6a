"""No secret in a configuration, which a run writes to its files."""

import os
import re
from collections.abc import Collection, Mapping
from typing import Any

from noisereg.config.walk import leaves
from noisereg.errors import ConfigError

_SECRET = re.compile(r"api_?key|secret|passw", re.IGNORECASE)
_TOKEN = re.compile(r"token", re.IGNORECASE)
_PASSWORD_IN_ADDRESS = re.compile(r"://[^/\s@]*:[^/\s@]+@")
_PLACE = re.compile(r"(file|dir|path)$", re.IGNORECASE)
# a resolver that is none of these, or a name that is put together
_READS_MORE = re.compile(r"\$\{\s*(?!(now|hydra|oc\.select|oc\.dict\.\w+)\s*:)[^:{}]*(:|\$\{)")
_SHORTEST = 8  # letters of an environment's secret; shorter ones stand in other words by chance


def check_secrets(settings: Mapping[str, Any], *, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse keys that are named as secrets are, addresses with a password, and secrets of the environment.

    A number may be called a token, as in num_tokens.

    Args:
        settings: a configuration as plain values, or a part of it.
        environment: names and values of the variables of the process.

    Raises:
        ConfigError: naming the key; the value is not in the text.

    Example:
        >>> check_secrets({"logger": {"api_key": "0123"}})
        Traceback (most recent call last):
        noisereg.errors.ConfigError: logger.api_key looks like a secret, and a run writes its configuration to files; \
keep it in the environment, or give it once to: wandb login
    """
    known = _find_secrets(environment)
    for key, value in leaves(dict(settings)):
        if is_secret(key) and not (isinstance(value, int | float) and not _SECRET.search(key)):
            raise ConfigError(
                f"{key} looks like a secret, and a run writes its configuration to files; "
                "keep it in the environment, or give it once to: wandb login"
            )
        text = f"{key}={value}"
        if _PASSWORD_IN_ADDRESS.search(text):
            raise ConfigError(f"{key.partition('=')[0]} holds an address with a password, which a run would write down")
        for name, secret in known.items():
            if secret in text:
                raise ConfigError(
                    f"{key} holds the value of {name}, which a run would write to its files; leave it out"
                )


def check_interpolations(settings: Mapping[str, Any], *, stated: Collection[str]) -> None:
    """Refuse interpolations of a file that read more than the configuration, the clock and Hydra's own values.

    Who writes a file would otherwise choose a variable of the environment that a run then writes to its own files.

    Args:
        settings: a configuration as plain values, with interpolations as they are written.
        stated: keys that the command line sets, which may read the environment.

    Raises:
        ConfigError: naming the key.

    Example:
        >>> check_interpolations({"logger": {"project": "${oc.env:ME}"}}, stated={"logger.project"})
        >>> check_interpolations({"logger": {"project": "${oc.env:ME}"}}, stated=set())
        Traceback (most recent call last):
        noisereg.errors.ConfigError: logger.project='${oc.env:ME}' stands in a file, which can use ${key}, ${now:...} \
and ${hydra:...}; give it on the command line
    """
    for key, value in leaves(dict(settings)):
        if key not in stated and isinstance(value, str) and _READS_MORE.search(value):
            raise ConfigError(
                f"{key}={value!r} stands in a file, which can use ${{key}}, ${{now:...}} and ${{hydra:...}}; "
                "give it on the command line"
            )


def is_secret(name: str) -> bool:
    """Return whether something of this name is likely to be a secret.

    Example:
        >>> is_secret("WANDB_API_KEY"), is_secret("seed")
        (True, False)
    """
    return bool(_SECRET.search(name) or _TOKEN.search(name))


def _find_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if is_secret(name) and not _PLACE.search(name) and len(value) >= _SHORTEST
    }
