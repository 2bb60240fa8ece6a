"""No secret in what a run writes: refused in a configuration, hidden in the text of an error."""

import netrc
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from noisereg.config.walk import leaves
from noisereg.errors import ConfigError

_NAMED = re.compile(r"secret|passw|passphrase|credential|(api|access|private)_?key|(^|_)pwd$", re.IGNORECASE)
_PLACE = re.compile(r"(file|dir|path)$", re.IGNORECASE)
_SHORTEST = 8  # letters of an environment's secret; shorter ones stand in other words by chance
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# What a secret looks like, whatever it is called; no word, path or name of a run is likely to look so.
_SHAPES = {
    "a token of GitHub": r"\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{22,}",
    "a token of GitLab": r"\bglpat-[\w-]{20,}",
    "a key of OpenAI or Anthropic": r"(?<![A-Za-z0-9])sk-([a-z0-9]+-)*(?=\w*\d)\w{20,}",
    "a token of Hugging Face": r"\bhf_[A-Za-z0-9]{30,}",
    "a key of Amazon": r"\b(AKIA|ASIA)[0-9A-Z]{16}\b",
    "a key of Google": r"\bAIza[\w-]{35}",
    "a token of Slack": r"\bxox[a-z]-[\w-]{10,}",
    "a key of Stripe": r"\b[sr]k_(live|test)_[A-Za-z0-9]{16,}",
    "a key of W&B": r"\bwandb_v\d+_\w{30,}",
    "a signed token": r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY( BLOCK)?-----(.*?-----END [A-Z ]*PRIVATE KEY( BLOCK)?-----)?",
    "an address with a password": r"://[^/\s@]*:[^/\s@]+@|\bhttps?://[^/\s@?#]+@",
    "an address with a key": r"[?&]\w*(?i:key|token|secret|signature|sig|password|auth)=[^&\s]{8,}",
}
_SHAPE = {kind: re.compile(shape, re.DOTALL) for kind, shape in _SHAPES.items()}
# W&B's older keys look as the name of a commit does, which has other names for company, or stands in a path
_FORTY = re.compile(r"(?<![\w/])[0-9a-f]{40}(?![\w/])")
_COMMIT = re.compile(r"commit|sha|rev|git|hash|digest|md5|fingerprint|identity", re.IGNORECASE)
# a resolver that is none of these, or a name that is put together
_READS_MORE = re.compile(r"\$\{\s*(?!(now|hydra|oc\.select|oc\.dict\.\w+)\s*:)[^:{}]*(:|\$\{)")


def check_secrets(settings: Mapping[str, Any], *, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse what is named or looks as secrets do, and the secrets of the environment and of `.netrc`.

    A number may be called a token, as in num_tokens, and a name may be called a key.

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
        if value is None:
            continue
        shown = _hide(key, known)
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
            for kind, shape in _SHAPE.items():
                if shape.search(form):
                    raise ConfigError(f"{shown} holds {kind}, which a run would write down; leave it out")
        if _FORTY.search(text) and not _COMMIT.search(text):
            raise ConfigError(
                f"{shown} holds 40 hexadecimal digits, as a key of W&B has, which a run would write down; "
                "leave it out, or put commit- before it if it is one"
            )


def hide_secrets(text: str, *, environment: Mapping[str, str] = os.environ) -> str:
    """Return a text with *** for the secrets of the environment and all that looks like one.

    It is for texts that are not of the configuration, such as the error of a library.

    Args:
        text: to be printed or written.
        environment: names and values of the variables of the process.

    Example:
        >>> hide_secrets("no access with 4f2a8812", environment={"MY_TOKEN": "4f2a8812"})
        'no access with ***'
    """
    return _hide(text, _find_secrets(environment))


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
    if _NAMED.search(key.partition("[")[0]):
        return True
    words = _words(re.sub(r"\[\d+\]", "", key).rpartition(".")[2])
    text = value if isinstance(value, str) else ""
    if words & {"token", "tokens"}:
        return len(text) >= _SHORTEST and _is_mixed(text) and " " not in text
    return bool(words & {"key", "auth", "pat", "pass"} and re.fullmatch(r"[\w+=-]{16,}", text) and _is_random(text))


def _find_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the secrets of the environment and of the file that `wandb login` writes, by what names them."""
    found = {name: value for name, value in environment.items() if _is_secret_variable(name, value)}
    path = Path(environment.get("NETRC") or Path(environment.get("HOME", "/nonexistent"), ".netrc"))
    try:
        hosts = netrc.netrc(path).hosts if path.is_file() else {}
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):  # W&B will say so, if it needs it
        hosts = {}
    for host, (_, _, password) in hosts.items():
        if password and len(password) >= _SHORTEST:
            found[f"{path} for {host}"] = password
    return found


def _is_secret_variable(name: str, value: str) -> bool:
    """Return whether a variable of the environment holds a secret, and not the place of one."""
    if len(value) < _SHORTEST or _PLACE.search(name) or _is_place(value):
        return False
    words = _words(name)
    return bool(
        _NAMED.search(name)
        or words & {"pass", "pwd"}
        or (words & {"key", "token", "auth", "pat", "jwt"} and _is_mixed(value))
    )


def _is_place(value: str) -> bool:
    try:
        return value.startswith(("/", "~", ".")) and Path(value).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False


def _words(name: str) -> set[str]:
    """Return the words of a name that is written as snake_case, camelCase or UPPER_CASE."""
    return {word.lower() for word in _WORD.findall(name)}


def _is_mixed(text: str) -> bool:
    return any(sign.isdigit() for sign in text) and any(sign.isalpha() for sign in text)


def _is_random(text: str) -> bool:
    """Return whether a word was drawn rather than thought of: it has many digits, or small and large letters."""
    digits = sum(sign.isdigit() for sign in text)
    return _is_mixed(text) and (5 * digits >= len(text) or text.lower() != text != text.upper())


def _hide(text: str, known: Mapping[str, str]) -> str:
    for secret in known.values():
        text = text.replace(secret, "***")
    for shape in _SHAPE.values():
        text = shape.sub("***", text)
    return text
