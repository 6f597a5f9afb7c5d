"""Every way to name pictures gives the same bytes, in an order that does not change."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from pyarrow import parquet

from fgcam_onnx.errors import ImageError, OptionError
from fgcam_onnx.stream import Source, Store, cut, digest

NAMES = ("a.png", "b/c.jpg", "b/d.png", "e.jpeg")
CONTENT = {name: name.encode() * 50 for name in NAMES}


def read(*names: object, **columns: str) -> dict[str, bytes]:
    found = [(item.key, item.read()) for item in Source(tuple(map(str, names)), **columns)]
    assert len(dict(found)) == len(found)
    return dict(found)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in (CONTENT | {"notes.md": b"no picture", ".hidden.png": b"no"}).items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    return tmp_path / "in"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_what_has_no_end_is_not_waited_for(folder: Path) -> None:
    """A pipe without a writer, and a link to a device; in a folder they are the errors of their pictures."""
    os.mkfifo(folder / "pipe.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    for name in ("pipe.png", "zero.png"):
        with pytest.raises(ImageError, match="not a regular file"):
            read(folder / name)
    found = {item.key: item for item in Source((str(folder),))}
    assert found.keys() == {*NAMES, "pipe.png", "zero.png"}
    for name in ("pipe.png", "zero.png"):
        with pytest.raises(OSError, match="not a regular file"):
            found[name].read()


def test_a_folder_is_read_with_what_lies_below_by_name(folder: Path) -> None:
    found = read(folder)
    assert found == CONTENT
    assert list(found) == sorted(NAMES)
    assert list(read(f"{folder}/")) == sorted(NAMES)


def test_a_pattern_and_single_files(folder: Path) -> None:
    assert read(f"{folder}/b/*") == {"c.jpg": CONTENT["b/c.jpg"], "d.png": CONTENT["b/d.png"]}
    assert read(folder / "a.png", folder / "b" / "d.png") == {"a.png": CONTENT["a.png"], "d.png": CONTENT["b/d.png"]}


def test_a_list_names_files_seen_from_its_folder(folder: Path) -> None:
    (folder / "list.txt").write_text(f"b/c.jpg\n\n{folder / 'a.png'}\n")
    assert read(folder / "list.txt") == {"b/c.jpg": CONTENT["b/c.jpg"], str(folder / "a.png"): CONTENT["a.png"]}


def test_a_tar_is_read_in_any_order(folder: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name in NAMES:
            tar.add(folder / name, name)
        tar.add(folder / "notes.md", "a.cls")
    assert read(tmp_path / "x.tar") == {f"x.tar/{name}": content for name, content in CONTENT.items()}
    last, *_ = reversed(list(Source((str(tmp_path / "x.tar"),))))
    assert last.read() == CONTENT["e.jpeg"]


def test_a_compressed_tar_is_refused(folder: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w:gz") as tar:
        tar.add(folder / "a.png", "a.png")
    with pytest.raises(ImageError, match="unpack compressed ones"):
        read(tmp_path / "x.tar")


@pytest.mark.parametrize("nested", [False, True], ids=["bytes", "structure"])
def test_parquet_with_pictures_in_any_row_group(tmp_path: Path, nested: bool) -> None:
    values = [{"bytes": c, "path": n} if nested else c for n, c in CONTENT.items()]
    table = pa.table({"name": list(CONTENT), "picture": values})
    parquet.write_table(table, tmp_path / "x.parquet", row_group_size=3)
    assert list(read(tmp_path / "x.parquet").values()) == list(CONTENT.values())
    assert list(read(tmp_path / "x.parquet")) == [f"x.parquet#{n}" for n in range(4)]
    assert read(tmp_path / "x.parquet", id="name") == CONTENT
    with pytest.raises(OptionError, match="no column 'image'; there are name, picture"):
        read(tmp_path / "x.parquet", column="image")


def test_which_column_holds_pictures_is_asked_where_several_could(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"a": [b"x"], "b": [b"y"]}), tmp_path / "x.parquet")
    with pytest.raises(OptionError, match="a, b can; say --column"):
        read(tmp_path / "x.parquet")
    assert read(tmp_path / "x.parquet", column="b") == {"x.parquet#0": b"y"}


def test_a_url_is_read_as_a_folder_is() -> None:
    files = fsspec.filesystem("memory")
    for name, content in CONTENT.items():
        files.pipe_file(f"/bucket/in/{name}", content)
    to = io.BytesIO()
    parquet.write_table(pa.table({"picture": [b"p"]}), to)
    files.pipe_file("/bucket/in/z.parquet", to.getvalue())
    assert read("memory://bucket/in") == CONTENT | {"z.parquet#0": b"p"}
    assert read("memory://bucket/in/b/*.png") == {"d.png": CONTENT["b/d.png"]}


def test_a_name_without_pictures_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name, why in {"empty": "no picture in it", "gone.png": "no such file", "*.webp": "no picture in it"}.items():
        with pytest.raises(ImageError, match=why):
            read(tmp_path / name)


def test_shards_are_cut_alike_and_told_apart_by_their_keys(folder: Path) -> None:
    shards = list(cut(Source((str(folder),)), 3))
    assert [(s.number, s.first, len(s.items)) for s in shards] == [(0, 0, 3), (1, 3, 1)]
    assert [len(s.items) for s in cut(Source((str(folder),)), 3, limit=2)] == [2]
    assert [[i.key for i in b] for b in shards[0].batches(2)] == [["a.png", "b/c.jpg"], ["b/d.png"]]
    assert len({digest(keys) for keys in (["a", "b"], ["ab"], ["b", "a"], ["a"], [])}) == 5


@pytest.mark.parametrize("url", ["disk", "memory://store/of/files"])
def test_a_store_keeps_whole_files(url: str, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "new" / "store") if url == "disk" else url)
    assert store.names() == []
    assert store.read("a") is None
    store.write("a", b"one")
    store.write("a", b"two")
    store.write("b", b"three")
    assert (store.read("a"), store.names()) == (b"two", ["a", "b"])
    store.remove("a")
    store.remove("a")
    assert store.names() == ["b"]
    if url == "disk":
        (tmp_path / "new" / "store" / ".c.0123.tmp").write_bytes(b"half")
        store.swept()
        assert store.names() == ["b"]
