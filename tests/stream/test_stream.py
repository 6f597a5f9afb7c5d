"""Runs that are killed anywhere go on to the same bytes."""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pytest

from fgcam_onnx.errors import ImageError, OptionError, OutputError
from fgcam_onnx.imaging.writing import write_atomically
from fgcam_onnx.stream import Item, Journal, Kept, Lines, Row, from_paths, run

ITEMS = [Item(f"{i}.png", Path(f"/{i}.png")) for i in range(11)]
RUN = {"model": "a", "metrics": ["drop"]}


@dataclass
class Counting:
    """Two rows an item, which depend on the batch; some items fail."""

    bad: frozenset[str] = frozenset()
    seen: list[str] = field(default_factory=list)

    def __call__(self, items: Sequence[Item]) -> list[Row]:
        for item in items:
            if item.key in self.bad:
                raise ImageError(f"{item.key}: damaged")
        self.seen += [item.key for item in items]
        return [{"item": item.key, "of": len(items), "n": n} for item in items for n in (0, 1)]


def finished(folder: Path, work: Counting | None = None) -> tuple[bytes, bytes]:
    rows, journal = folder / "rows.jsonl", folder / "journal.jsonl"
    run(ITEMS, work or Counting(), sink=Lines(rows), journal=Journal.of(journal, RUN), batch=4)
    return rows.read_bytes(), journal.read_bytes()


def test_rows_come_in_the_order_of_the_items() -> None:
    steps: list[tuple[int, int]] = []
    rows = run(ITEMS, Counting(), sink=Kept([]), batch=4, progress=lambda *step: steps.append(step))
    assert [row["item"] for row in rows] == [item.key for item in ITEMS for _ in (0, 1)]
    assert steps == [(0, 11), (4, 11), (8, 11), (11, 11)]


def test_an_item_that_fails_is_a_row_and_the_others_of_its_batch_are_done() -> None:
    rows = run(ITEMS, Counting(frozenset({"5.png"})), sink=Kept([]), batch=4)
    assert [row for row in rows if "error" in row] == [{"item": "5.png", "error": "5.png: damaged"}]
    assert {row["item"] for row in rows} == {item.key for item in ITEMS}
    assert [row["of"] for row in rows if row["item"] in ("4.png", "0.png")] == [4, 4, 1, 1]


@pytest.mark.parametrize("why", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_disk_that_is_full_ends_a_run_and_what_was_not_written_is_done_later(tmp_path: Path, why: int) -> None:
    whole = finished(tmp_path / "whole")

    class Full(Counting):
        def __call__(self, items: Sequence[Item]) -> list[Row]:
            if items[0].key == "4.png":
                with pytest.raises(OutputError) as caught:
                    write_atomically(tmp_path / "map", refuse)
                raise caught.value
            return super().__call__(items)

    def refuse(file: BinaryIO) -> None:
        raise OSError(why, "no more")

    with pytest.raises(OutputError, match="no more"):
        finished(tmp_path / "full", Full())
    left = Counting()
    assert finished(tmp_path / "full", left) == whole
    assert left.seen == [item.key for item in ITEMS[4:]]


def test_a_file_that_alone_cannot_be_written_is_an_error_of_its_picture(tmp_path: Path) -> None:
    """Negative control: another picture's file is another name."""
    (tmp_path / "5.png").mkdir()

    def work(items: Sequence[Item]) -> list[Row]:
        for item in items:
            write_atomically(tmp_path / item.key, lambda file: None)
        return [{"item": item.key} for item in items]

    rows = run(ITEMS, work, sink=Kept([]), batch=4)
    assert [row["item"] for row in rows if "error" in row] == ["5.png"]


def test_a_run_cut_at_any_byte_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    """Whatever reached the disk: journal and rows are cut at every pair of places that a kill can leave."""
    rows, journal = finished(tmp_path / "whole")
    work = Counting()
    finished(tmp_path / "whole", work)
    assert work.seen == []
    ends = [i + 1 for i, byte in enumerate(journal) if byte == ord("\n")]
    cases = 0
    for kept in range(len(journal) + 1):
        complete = sum(end <= kept for end in ends)
        noted = json.loads(journal.splitlines()[complete - 1]) if complete > 1 else 0
        following = json.loads(journal.splitlines()[complete]) if 1 <= complete < len(ends) else noted
        for written in sorted({noted, (noted + following) // 2, following}):
            folder = tmp_path / f"{kept}.{written}"
            folder.mkdir()
            (folder / "journal.jsonl").write_bytes(journal[:kept])
            (folder / "rows.jsonl").write_bytes(rows[:written])
            assert finished(folder) == (rows, journal)
            cases += 1
    assert cases > 30


def test_a_journal_of_another_run_is_refused_and_says_in_what_it_differs(tmp_path: Path) -> None:
    Journal.of(tmp_path / "journal.jsonl", RUN).note(7)
    assert Journal.of(tmp_path / "journal.jsonl", dict(RUN)).done == [7]
    with pytest.raises(OptionError, match=r"other metrics, seed; name another folder, or delete journal\.jsonl"):
        Journal.of(tmp_path / "journal.jsonl", {"model": "a", "metrics": ["gain"], "seed": 1})
    (tmp_path / "journal.jsonl").write_text("not json\n")
    with pytest.raises(OutputError, match="not a journal"):
        Journal.of(tmp_path / "journal.jsonl", RUN)


def test_rows_that_were_lost_are_noticed(tmp_path: Path) -> None:
    finished(tmp_path)
    (tmp_path / "rows.jsonl").write_text("")
    with pytest.raises(OutputError, match="has 0 bytes"):
        finished(tmp_path)


def test_items_are_called_by_their_path_below_what_all_share(tmp_path: Path) -> None:
    for name in ("a/x.png", "b/x.png", "b/c/y.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    items = from_paths([tmp_path / "a", tmp_path / "b", tmp_path / "b" / "c" / "y.png"])
    assert [item.key for item in items] == ["a/x.png", "b/x.png", "b/c/y.png"]
    assert [item.key for item in from_paths([tmp_path / "a" / "x.png"])] == ["x.png"]
