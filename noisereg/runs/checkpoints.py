"""Checkpoints that are never half a file, and of which no wrong byte is believed.

A checkpoint is what `torch.save` writes, and after it a seal of 73 bytes: the SHA-256 digest of all bytes before it.
`torch.load` does not see the seal, which lies behind the end of its archive; and as both are in one file, which
appears by a single rename, no moment exists at which one is there without the other.
"""

import hashlib
import io
import logging
import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import IO, Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from noisereg.config.run_folder import REPLICAS
from noisereg.config.same_run import describe_changes, differing, is_longer
from noisereg.errors import ConfigError
from noisereg.files.atomic import write_atomically
from noisereg.runs.journal import Journal, Mark

log = logging.getLogger(__name__)

_BEFORE = "previous.ckpt"
_SEAL = re.compile(rb"\nsha256 ([0-9a-f]{64})\n")
_SEAL_SIZE = 73
_END_OF_ARCHIVE, _END_SIZE = b"PK\x05\x06", 22  # what a file without a seal ends with: its archive has no comment
_ORIGIN = "origin"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write Lightning's checkpoint files beside their place, sealed, and move them there; the one before is kept.

    What was at the path stays beside it as `previous.ckpt`, if it is whole. Whatever moment the process dies at, one of
    the two is whole.

    Args:
        origin: what the checkpoints are of, as plain values, to be kept in them; None for nothing.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "last.ckpt"
        ...     for epoch in (1, 2, 3):
        ...         AtomicCheckpointIO().save_checkpoint({"epoch": epoch}, path)
        ...     [AtomicCheckpointIO().load_checkpoint(path.with_name(name)) for name in ("previous.ckpt", "last.ckpt")]
        [{'epoch': 2}, {'epoch': 3}]
    """

    def __init__(self, origin: dict[str, Any] | None = None) -> None:
        super().__init__()
        self._origin = {} if origin is None else {_ORIGIN: origin}
        self._written: set[Path] = set()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write the checkpoint to `path`."""
        path = Path(path)

        def write(file: IO[bytes]) -> None:
            sealed = _Sealed(file)
            whole = {**checkpoint, **self._origin}
            torch.save(whole, sealed)  # type: ignore[arg-type]  # of a file it asks to be written to alone
            sealed.close()
            os.fsync(file.fileno())  # whole, before the last one gives way
            # A broken one must not take the place of the one before it, which the training may have gone on from.
            if path.exists() and (path in self._written or not find_fault(path)):
                path.replace(path.with_name(_BEFORE))

        write_atomically(path, write)
        self._written.add(path)


def find_checkpoint(folder: Path, origin: dict[str, Any] | None = None) -> Path | None:
    """Find the checkpoint that a training goes on from: the last one, or the one before if the last one is broken.

    Args:
        folder: of the checkpoints.
        origin: what they must be of: the settings of the run, the fingerprint of its data and, if they are loaded, the
            samples; None for anything.

    Returns:
        The path, or None if there is no whole checkpoint.

    Raises:
        ConfigError: if a checkpoint holds more than tensors and plain values, which a run never writes, or is of
            another run.
    """
    broken = False
    for path in (folder / "last.ckpt", folder / _BEFORE):
        if not path.exists():
            continue
        if not (fault := find_fault(path, origin)):
            if broken:
                log.warning("%s, the one before it, is used in its place", path)
            return path
        log.warning("%s is broken (%s); it is left aside", path, fault)
        broken = True
    if broken:
        log.warning("%s has no whole checkpoint: a training there starts again at epoch 0", folder)
    return None


def has_checkpoint(folder: Path) -> bool:
    """Return whether a run has left a checkpoint in its folder, or in that of one of its replicas."""
    return any(any(folder.glob(f"{place}checkpoints/*.ckpt")) for place in ("", f"{REPLICAS}/*/"))


def find_fault(path: Path, origin: dict[str, Any] | None = None) -> str:
    """Describe what is wrong with a checkpoint, which is loaded for that; nothing if it is whole.

    A checkpoint of an older version, which has no seal, is as good as the checksums of its archive are.

    Args:
        path: of the checkpoint.
        origin: what it must be of, see `find_checkpoint`; None for anything.

    Raises:
        ConfigError: if it holds more than tensors and plain values, or is whole and of another run.
    """
    if not path.is_file():
        return "it is no file"
    try:
        data = path.read_bytes()
        if seal := _SEAL.fullmatch(data[-_SEAL_SIZE:]):
            if hashlib.sha256(memoryview(data)[:-_SEAL_SIZE]).hexdigest().encode() != seal[1]:
                return "its bytes do not have the digest that it was sealed with"
        elif data[-_END_SIZE:].startswith(_END_OF_ARCHIVE):
            _check_archive(data)
        else:
            return "it is cut off"
        loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        if origin is not None:
            _check_origin(path, loaded.get(_ORIGIN), origin)
        if mark := Mark.of(loaded.get("curves")):
            Journal(path.parent).read(mark)
    except pickle.UnpicklingError:
        raise ConfigError(
            f"{path} holds more than tensors and plain values, and is not loaded; delete it if it is not yours"
        ) from None
    except (ConfigError, MemoryError):  # the latter says nothing of the file
        raise
    except Exception as error:  # of a damaged archive torch and zipfile raise whatever its bytes lead them to
        return " ".join(str(error).split()) or type(error).__name__
    return ""


def _check_origin(path: Path, found: Any, origin: dict[str, Any]) -> None:
    """Refuse a checkpoint whose own origin, as far as it has one, is another than it must be."""
    settings, fingerprint = (found.get(key) if isinstance(found, dict) else None for key in ("settings", "fingerprint"))
    if not (isinstance(settings, dict) and isinstance(fingerprint, dict)):
        what = "does not say of which run it is, as those of older versions"
    elif any(both := differing(settings, origin["settings"])) and not is_longer(*both):
        what = f"is of a run of another configuration ({describe_changes(*both)})"
    elif words := describe_changes(fingerprint, origin["fingerprint"]) or _describe_other_samples(found, origin):
        what = f"is of a run on other data ({words})"
    else:
        return
    raise ConfigError(f"{path} {what}; put its own there, or delete {path.parent} to start again at epoch 0")


def _describe_other_samples(found: dict[str, Any], origin: dict[str, Any]) -> str:
    """Describe in what samples differ that were loaded from data of one fingerprint, if both origins count them."""
    old, new = (part.get("samples") for part in (found, origin))
    if not (isinstance(old, dict) and new):
        return ""
    new = {key: value for key, value in new.items() if key in old or key != "inputs"}  # which older versions left out
    return describe_changes({"samples": old}, {"samples": new})


def _check_archive(data: bytes) -> None:
    """Check what a damaged archive without a seal would be loaded in spite of.

    Raises:
        ValueError: if an entry does not have its checksum, or is marked as a folder, whose tensor torch leaves unread.
        zipfile.BadZipFile: if the archive has no order.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if any(entry.external_attr for entry in archive.infolist()):
            raise ValueError("an entry is marked as something else than a file")
        if damaged := archive.testzip():
            raise ValueError(f"{damaged} does not have its checksum")


class _Sealed:
    """A file that is written through, and takes the digest of what was written as its end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._digest = file, hashlib.sha256()

    def write(self, data: bytes | memoryview) -> int:
        self._digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        """Write the seal; the file stays open."""
        self._file.write(b"\nsha256 %s\n" % self._digest.hexdigest().encode())
        self._file.flush()
