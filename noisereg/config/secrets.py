"""No secret in the configuration of a run, which is written to its files and uploaded."""

import os
import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import unquote

from noisereg.config.sections import leaves
from noisereg.errors import ConfigError
from noisereg.secrets import NAMED, SHAPES, SHORTEST, find_secrets, hide_known, is_mixed, words_of

# W&B's older keys look as the name of a commit does, which has other names for company, or stands in a path
_FORTY = re.compile(r"(?<![\w/])[0-9a-f]{40}(?![\w/])")
_COMMIT = re.compile(r"commit|sha|rev|git|hash|digest|md5|fingerprint|identity", re.IGNORECASE)
# a resolver that is none of these, or a name that is put together
_READS_MORE = re.compile(r"\$\{\s*(?!(now|hydra|oc\.select|oc\.dict\.\w+)\s*:)[^:{}]*(:|\$\{)")


def check_secrets(settings: Mapping[str, Any], *, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse what is named or looks as secrets do, and the secrets of the environment and of `.netrc`.

    A number may be called a token, as in num_tokens, and a name may be called a key.

    Raises:
        ConfigError: naming the key; the value is not in the text.

    Example:
        >>> check_secrets({"logger": {"api_key": "0123"}})
        Traceback (most recent call last):
        noisereg.errors.ConfigError: logger.api_key looks like a secret, and a run writes its configuration to files; \
keep it in the environment, or give it once to: wandb login
    """
    known = find_secrets(environment)
    for key, value in leaves(dict(settings)):
        if value is None:
            continue
        shown = hide_known(key, known.values())
        if _is_named_secret(key, value):
            raise ConfigError(
                f"{shown} looks like a secret, and a run writes its configuration to files; "
                "keep it in the environment, or give it once to: wandb login"
            )
        text = f"{key}={value}"
        for form in (text, unquote(text)):
            for name, secret in known.items():
                if secret in form:
                    raise ConfigError(
                        f"{shown} holds the value of {name}, which a run would write to its files; leave it out"
                    )
            for shape in SHAPES:
                if shape.is_in(form):
                    raise ConfigError(f"{shown} holds {shape.kind}, which a run would write down; leave it out")
        if _FORTY.search(text) and not _COMMIT.search(text):
            raise ConfigError(
                f"{shown} holds 40 hexadecimal digits, as a key of W&B has, which a run would write down; "
                "leave it out, or put commit- before it if it is one"
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


def _is_named_secret(key: str, value: Any) -> bool:
    """Return whether a key names a secret, and its value may be one."""
    if NAMED.search(key.partition("[")[0]):
        return True
    words = words_of(re.sub(r"\[\d+\]", "", key).rpartition(".")[2])
    text = value if isinstance(value, str) else ""
    if words & {"token", "tokens"}:
        return len(text) >= SHORTEST and is_mixed(text) and " " not in text
    return bool(words & {"key", "auth", "pat", "pass"} and re.fullmatch(r"[\w+=-]{16,}", text) and _is_random(text))


def _is_random(text: str) -> bool:
    """Return whether a word was drawn rather than thought of: it has many digits, or small and large letters."""
    digits = sum(sign.isdigit() for sign in text)
    return is_mixed(text) and (5 * digits >= len(text) or text.lower() != text != text.upper())
