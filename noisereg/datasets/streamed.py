"""Batches of images that stay on disk and are read as they are asked for, by worker processes."""

import atexit
import os
import signal
import traceback
import weakref
from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from noisereg.datasets.image_files import cover_square, open_image
from noisereg.datasets.loader import Batch, BatchLoader, Transform
from noisereg.datasets.resized_crop import resized_crop
from noisereg.datasets.split import Split
from noisereg.errors import DatasetError
from noisereg.files.reading import read_file

Visits = tuple[Int64[np.ndarray, " batch"], Int64[np.ndarray, " batch"], Int64[np.ndarray, " batch"]]
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
_START = "fork"  # at once, and the worker of a killed run sees that it is gone
_open: "weakref.WeakSet[StreamLoader]" = weakref.WeakSet()


class Pictures(Dataset[Any]):
    """Image files that are decoded a batch at a time.

    Args:
        root: folder of the files.
        names: of the files below the root, as the file system's bytes: one array, as each worker process would in
            time copy a list of a million strings.
        size: height and width of the decoded images, in pixels.
        crop_seed: of random resized crops; None for the centre of each image.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     Image.new("RGB", (8, 6), "white").save(f"{root}/a.png")
        ...     pictures = Pictures(Path(root), np.array([b"a.png"]), size=4)
        ...     pictures[np.array([0]), np.array([0]), np.array([0])].shape
        torch.Size([1, 4, 4, 3])
    """

    def __init__(self, root: Path, names: np.ndarray, *, size: int, crop_seed: int | None = None) -> None:
        self.root, self.names, self.size, self.crop_seed = root, names, size, crop_seed

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, visits: Visits) -> UInt8[Tensor, "batch size size 3"] | DatasetError:
        """Decode the files with these numbers, for these draws and indices.

        An error is handed over and not raised: torch would wrap its one line in the traceback of the worker.
        """
        images = np.empty((len(visits[0]), self.size, self.size, 3), dtype=np.uint8)
        try:
            for place, (number, draw, index) in enumerate(zip(*(part.tolist() for part in visits), strict=True)):
                images[place] = np.asarray(self._decode_visit(number, draw=draw, index=index))
        except DatasetError as error:
            return error
        return torch.from_numpy(images)

    def _decode_visit(self, number: int, *, draw: int, index: int) -> Image.Image:
        path = self.root / os.fsdecode(self.names[number])
        picture = open_image(partial(read_file, path), path)
        if self.crop_seed is None:
            return cover_square(picture, self.size)
        return resized_crop(picture, self.size, seed=self.crop_seed, draw=draw, index=index)


class StreamLoader(BatchLoader):
    """The batches of a `BatchLoader`, whose images are read from disk in worker processes ahead of time.

    Order, shares, place in the epoch and transform are those of `BatchLoader`, and so is every bit of a batch,
    whatever the number of workers.

    Args:
        split: the number of each file in `pictures` as its input, and its label. Batches come on its device.
        batch_size: over all processes together.
        pictures: the files.
        workers: processes that read; 0 to read in this one. They take no notice of the signals that stop a run, so
            that this process can end its step.
        keep: whether the workers stay from one epoch to the next.
        transform: from the decoded bytes to the inputs of the batch; None for none.
        settings: further keywords of `BatchLoader`.

    Raises:
        ValueError: as `BatchLoader`.
        DatasetError: in the iteration, if a file does not decode.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        *,
        pictures: Pictures,
        workers: int = 0,
        keep: bool = False,
        transform: Transform | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(split.to("cpu"), batch_size, **settings)
        self._finish, self._device, self._keep = transform, split.labels.device, keep
        self._pictures, self._workers = pictures, workers
        self._asked: deque[Batch] = deque()
        self._ahead = _VisitSampler()
        self._reader: DataLoader[Any] | None = None
        self._images: Iterator[Any] | None = None  # no frame may hold it too, or `close` would not be the end of it
        _open.add(self)

    def __iter__(self) -> Iterator[Batch]:
        done = self._start
        self._asked.clear()
        self._ahead.visits = self._visits()
        if self._reader is None:
            self._reader = self._start_reader()
        self._images = iter(self._reader)
        try:
            while self._images is not None and (images := next(self._images, None)) is not None:
                if isinstance(images, DatasetError):
                    raise images
                done += 1
                self._batches = done  # the workers are ahead of it
                yield self._finish_batch(self._asked.popleft(), images)
            if done < len(self):
                raise RuntimeError(f"the loader was closed after {done} of {len(self)} batches of an epoch")
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)  # an error that is kept would keep the iterator of torch
            raise
        finally:
            if not self._keep:
                self.close()

    def close(self) -> None:
        """End the worker processes, if there are any; the next iteration starts new ones.

        torch ends them when nothing refers any longer to its loader and to the iterator over it.
        """
        self._images = self._reader = None

    def _start_reader(self) -> DataLoader[Any]:
        return DataLoader(
            self._pictures,
            batch_size=None,
            sampler=self._ahead,
            num_workers=self._workers,
            persistent_workers=self._keep and self._workers > 0,
            pin_memory=self._device.type == "cuda",
            multiprocessing_context=_START if self._workers else None,
            worker_init_fn=ignore_signals,
            generator=torch.Generator(),  # or it would move the global one
        )

    def _visits(self) -> Iterator[Visits]:
        for batch in super().__iter__():
            self._asked.append(batch)
            yield batch["input"].numpy(), batch["draw"].numpy(), batch["index"].numpy()

    def _finish_batch(self, asked: Batch, images: UInt8[Tensor, "batch h w 3"]) -> Batch:
        batch = {name: part.to(self._device) for name, part in asked.items() if name != "input"}
        inputs = images.permute(0, 3, 1, 2).to(self._device, non_blocking=True)
        if self._finish is not None:
            inputs = self._finish(inputs, draw=batch["draw"], index=batch["index"])
        return {"input": inputs, **batch}


class _VisitSampler:
    """What a torch loader asks for: the visits it has been given, once."""

    visits: Iterator[Visits] = iter(())

    def __iter__(self) -> Iterator[Visits]:
        return self.visits


def ignore_signals(worker: int) -> None:
    """Ignore, in a worker process, the signals by which a terminal or a cluster stops a whole group."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@atexit.register
def _close_all() -> None:
    """End all workers: at its end Python asks them to by SIGTERM, which they ignore, and would wait for ever."""
    for loader in list(_open):
        loader.close()
