"""What a secret looks like, and the one way out of the program on which it is hidden."""

import netrc
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

NAMED = re.compile(r"secret|passw|passphrase|credential|(api|access|private)_?key|(^|_)pwd$", re.IGNORECASE)
_PLACE = re.compile(r"(file|dir|path)$", re.IGNORECASE)
SHORTEST = 8  # letters of an environment's secret; shorter ones stand in other words by chance
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


class Shape(NamedTuple):
    """What a kind of secret looks like, whatever it is called.

    Attributes:
        kind: in words.
        marks: of which each such secret has one: to look for these takes a hundredth of the time.
        pattern: of it; no word, path or name of a run is likely to look so.
    """

    kind: str
    marks: tuple[str, ...]
    pattern: re.Pattern[str]

    def is_in(self, text: str) -> bool:
        """Return whether a text holds such a secret."""
        return any(mark in text for mark in self.marks) and bool(self.pattern.search(text))


def _shape(kind: str, marks: str, pattern: str) -> Shape:
    return Shape(kind, tuple(marks.split()), re.compile(pattern, re.DOTALL))


SHAPES = (
    _shape("a token of GitHub", "gh", r"\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{22,}"),
    _shape("a token of GitLab", "glpat-", r"\bglpat-[\w-]{20,}"),
    _shape("a key of OpenAI or Anthropic", "sk-", r"(?<![A-Za-z0-9])sk-([a-z0-9]+-)*(?=\w*\d)\w{20,}"),
    _shape("a token of Hugging Face", "hf_", r"\bhf_[A-Za-z0-9]{30,}"),
    _shape("a key of Amazon", "AKIA ASIA", r"\b(AKIA|ASIA)[0-9A-Z]{16}\b"),
    _shape("a key of Google", "AIza", r"\bAIza[\w-]{35}"),
    _shape("a token of Slack", "xox", r"\bxox[a-z]-[\w-]{10,}"),
    _shape("a key of Stripe", "k_live_ k_test_", r"\b[sr]k_(live|test)_[A-Za-z0-9]{16,}"),
    _shape("a key of W&B", "wandb_v", r"\bwandb_v\d+_\w{30,}"),
    _shape("a signed token", "eyJ", r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*"),
    _shape(
        "a private key",
        "-----BEGIN",
        r"-----BEGIN [A-Z ]*PRIVATE KEY( BLOCK)?-----"
        r"(.*?-----END [A-Z ]*PRIVATE KEY( BLOCK)?-----|(\s*[A-Za-z0-9+/=]{16,})*)",  # whole, or cut off
    ),
    _shape("an address with a password", "://", r"://[^/\s@]*:[^/\s@]+@|\bhttps?://[^/\s@?#]+@"),
    _shape(
        "an address with a key",
        "? &",
        r"[?&]\w*(?i:key|token|secret|signature|sig|password|auth)=[^&\s]{8,}",
    ),
)


def hide_secrets(text: str, *, environment: Mapping[str, str] = os.environ) -> str:
    """Return a text with *** for the secrets of the environment and all that looks like one.

    What is written, logged, printed, drawn or uploaded passes here or `hide_known`, but for the configuration, which is
    refused if it holds a secret.

    Args:
        text: to be shown.
        environment: names and values of the variables of the process.

    Example:
        >>> hide_secrets("no access with 4f2a8812", environment={"MY_TOKEN": "4f2a8812"})
        'no access with ***'
    """
    return hide_known(text, find_secrets(environment).values())


def hide_known(text: str, known: Collection[str]) -> str:
    """Return a text with *** for some secrets and all that looks like one; it takes microseconds.

    Args:
        text: to be shown.
        known: secrets that look like nothing in particular.

    Example:
        >>> hide_known("no access with 4f2a8812", ["4f2a8812"])
        'no access with ***'
    """
    if len(text) < SHORTEST:
        return text
    for secret in known:
        text = text.replace(secret, "***")
    for shape in SHAPES:
        if shape.is_in(text):
            text = shape.pattern.sub("***", text)
    return text


def hide_known_in(node: Any, known: Collection[str]) -> Any:
    """Return plain values with *** for the secrets in their texts and names, see `hide_known`.

    Example:
        >>> hide_known_in({"steps": 3, "by": ["4f2a8812"]}, ["4f2a8812"])
        {'steps': 3, 'by': ['***']}
    """
    if isinstance(node, str):
        return hide_known(node, known)
    if isinstance(node, dict):
        return {hide_known_in(name, known): hide_known_in(value, known) for name, value in node.items()}
    return [hide_known_in(item, known) for item in node] if isinstance(node, list | tuple) else node


def find_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the secrets of the environment and of the file that `wandb login` writes, by what names them.

    Example:
        >>> find_secrets({"MY_TOKEN": "4f2a8812", "SEED": "12345678"})
        {'MY_TOKEN': '4f2a8812'}
    """
    found = {name: value for name, value in environment.items() if _is_secret_variable(name, value)}
    path = Path(environment.get("NETRC") or Path(environment.get("HOME", "/nonexistent"), ".netrc"))
    try:
        hosts = netrc.netrc(path).hosts if path.is_file() else {}
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):  # W&B will say so, if it needs it
        hosts = {}
    for host, (_, _, password) in hosts.items():
        if password and len(password) >= SHORTEST:
            found[f"{path} for {host}"] = password
    return found


def words_of(name: str) -> set[str]:
    """Return the words of a name that is written as snake_case, camelCase or UPPER_CASE.

    Example:
        >>> sorted(words_of("OpenAiKey"))
        ['ai', 'key', 'open']
    """
    return {word.lower() for word in _WORD.findall(name)}


def is_mixed(text: str) -> bool:
    """Return whether a text has both letters and digits.

    Example:
        >>> is_mixed("a1"), is_mixed("ab")
        (True, False)
    """
    return any(sign.isdigit() for sign in text) and any(sign.isalpha() for sign in text)


def _is_secret_variable(name: str, value: str) -> bool:
    """Return whether a variable of the environment holds a secret, and not the place of one."""
    if len(value) < SHORTEST or _PLACE.search(name) or _is_place(value):
        return False
    words = words_of(name)
    return bool(
        NAMED.search(name)
        or words & {"pass", "pwd"}
        or (words & {"key", "token", "auth", "pat", "jwt"} and is_mixed(value))
    )


def _is_place(value: str) -> bool:
    try:
        return value.startswith(("/", "~", ".")) and Path(value).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False
