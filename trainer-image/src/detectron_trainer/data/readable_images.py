"""Training images of which some cannot be read: left out, named and counted, in whichever process."""

from __future__ import annotations

import ctypes
import errno
import multiprocessing
from collections.abc import Callable, Mapping, Sequence

from torch.utils.data import Dataset

IN_A_ROW = 16
"""So many images that cannot be read one after another are no accident."""

Record = Mapping[str, object]
_NAME_BYTES = 1024


class UnreadableImages:
    """Counts what this rank could not read, its data-loader processes included, and names the latest."""

    def __init__(self) -> None:
        self._count = multiprocessing.Value(ctypes.c_int64, 0)
        self._latest = multiprocessing.Array(ctypes.c_char, _NAME_BYTES)

    def note(self, message: str) -> None:
        with self._count.get_lock():
            self._count.value += 1
            # A cut in the middle of a character is mended when it is read.
            self._latest.value = message.encode(errors="replace")[: _NAME_BYTES - 1]

    @property
    def count(self) -> int:
        return self._count.value

    @property
    def latest(self) -> str:
        """The last one's file and what is wrong with it; empty while there is none."""
        return self._latest.value.decode(errors="replace")


class ReadableImages(Dataset[object]):
    """`records` made training data by `mapper`; one that cannot be read gives way to the next in line.

    So does one that the mapper declines by returning None, which is not counted. What an index yields depends
    on nothing but the index, in contrast to Detectron2's `MapDataset`: a resumed run sees the same.
    """

    def __init__(
        self, records: Sequence[Record], mapper: Callable[[Record], object], unreadable: UnreadableImages
    ) -> None:
        self._records = records
        self._mapper = mapper
        self._unreadable = unreadable

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> object:
        """The data of the first readable record from `index` on; raises the error of the last one tried."""
        failures = 0
        for offset in range(len(self)):
            record = self._records[(index + offset) % len(self)]
            try:
                data = self._mapper(record)
            # What Pillow and Detectron2's own checks raise for files that are no images or of another size.
            except (OSError, SyntaxError, ValueError, EOFError) as error:
                failures += 1
                if _is_of_the_storage(error) or failures == IN_A_ROW:
                    raise
                self._unreadable.note(f"{record.get('file_name')}: {type(error).__name__}: {error}")
            else:
                if data is not None:
                    return data
        raise ValueError(f"none of {len(self)} training images can be used")


def _is_of_the_storage(error: Exception) -> bool:
    """Whether the next attempt may well read the file."""
    return isinstance(error, OSError) and error.errno not in (None, errno.ENOENT)
