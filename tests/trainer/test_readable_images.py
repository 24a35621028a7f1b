"""Training images of which some cannot be read."""

from __future__ import annotations

import errno
import multiprocessing

import pytest

from detectron_trainer.data.readable_images import IN_A_ROW, ReadableImages, Record, UnreadableImages

RECORDS: list[Record] = [{"file_name": f"{number}.png", "number": number} for number in range(20)]


def images(bad: set[int], unreadable: UnreadableImages, error: Exception | None = None) -> ReadableImages:
    def read(record: Record) -> object:
        if record["number"] in bad:
            raise error or OSError("image file is truncated")
        return record["number"]

    return ReadableImages(RECORDS, read, unreadable)


def test_the_next_in_line_stands_in() -> None:
    unreadable = UnreadableImages()
    data = images({4, 5, 19}, unreadable)
    assert [data[index] for index in (3, 4, 19)] == [3, 6, 0]
    assert unreadable.count == 3
    assert unreadable.latest == "19.png: OSError: image file is truncated"


def test_counts_what_other_processes_meet() -> None:
    unreadable = UnreadableImages()
    process = multiprocessing.get_context("fork").Process(target=unreadable.note, args=("ä" * 1000,))
    process.start()
    process.join()
    assert unreadable.count == 1
    assert unreadable.latest.startswith("ä" * 511)


@pytest.mark.parametrize("error", [SyntaxError("broken PNG file"), FileNotFoundError(errno.ENOENT, "x")])
def test_broken_and_missing_files_are_counted(error: Exception) -> None:
    unreadable = UnreadableImages()
    assert images({4}, unreadable, error)[4] == 5
    assert unreadable.count == 1


@pytest.mark.parametrize("error", [OSError(errno.EIO, "x"), KeyError("a mapper's bug")])
def test_other_errors_are_no_image_s(error: Exception) -> None:
    unreadable = UnreadableImages()
    with pytest.raises(type(error)):
        images({4}, unreadable, error)[4]
    assert unreadable.count == 0


def test_many_in_a_row_are_no_accident() -> None:
    unreadable = UnreadableImages()
    with pytest.raises(OSError, match="truncated"):
        images(set(range(IN_A_ROW)), unreadable)[0]


def test_what_a_mapper_declines_is_not_counted() -> None:
    unreadable = UnreadableImages()
    data = ReadableImages(RECORDS, lambda record: record if record["number"] == 3 else None, unreadable)
    assert data[5] == RECORDS[3]
    assert unreadable.count == 0
    with pytest.raises(ValueError, match="none of 20"):
        ReadableImages(RECORDS, lambda record: None, unreadable)[0]
