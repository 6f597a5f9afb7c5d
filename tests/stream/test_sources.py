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
    assert read(folder / "b" / "d.png") == {"d.png": CONTENT["b/d.png"]}
    assert read(folder / "a.png", folder / "b" / "d.png") == {"a.png": CONTENT["a.png"], "b/d.png": CONTENT["b/d.png"]}


def test_pictures_of_several_names_are_told_apart(folder: Path) -> None:
    for name in ("train/x/1.png", "test/x/1.png"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(name.encode())
    expected = {name: name.encode() for name in ("train/x/1.png", "test/x/1.png")}
    assert read(f"{folder}/*/x/1.png") == expected
    assert read(folder / "train", folder / "test") == expected
    assert read(folder / "train" / "x" / "1.png", f"{folder}/test/x/*.png") == expected
    for name, text in (("train", "x/1.png\n"), ("test", f"x/1.png\n{folder}/a.png\n")):
        (folder / name / "list.txt").write_text(text)
    both = read(folder / "train" / "list.txt", folder / "test" / "list.txt")
    assert both == expected | {f"{folder}/a.png": CONTENT["a.png"]}


def test_what_is_named_twice_is_refused(folder: Path) -> None:
    for names in ([folder, folder / "b" / "d.png"], [folder / "a.png"] * 2, [f"{folder}/b/*.png", folder]):
        with pytest.raises(OptionError, match="named twice"):
            read(*names)
    assert len(read(f"{folder}/b/*.png", f"{folder}/b/*.jpg")) == 2


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


def test_a_tar_that_is_broken_gives_what_stands_before_and_says_so(folder: Path, tmp_path: Path) -> None:
    """tarfile takes a header that cannot be read for the end, without a word."""
    with tarfile.open(tmp_path / "whole.tar", "w") as tar:
        for name in NAMES:
            tar.add(folder / name, name)
    with tarfile.open(tmp_path / "whole.tar") as tar:
        third = tar.getmembers()[2]
    whole = (tmp_path / "whole.tar").read_bytes()
    broken = {
        "cut": whole[: third.offset_data + 9],
        "ended": whole[: third.offset],
        "header": whole[: third.offset] + b"\xff" * 200 + whole[third.offset + 200 :],
        "checksum": whole[: third.offset] + b"?" + whole[third.offset + 1 :],
    }
    for kind, content in broken.items():
        path = tmp_path / f"{kind}.tar"
        path.write_bytes(content)
        *items, last = Source((str(path),))
        keys = [item.key for item in items]
        if kind == "ended":
            assert [*keys, last.key] == [f"ended.tar/{name}" for name in NAMES[:2]]
            continue
        assert keys[:2] == [f"{kind}.tar/{name}" for name in NAMES[:2]]
        assert (last.key, last.url) == (path.name, path.as_uri())
        with pytest.raises(OSError, match=r"what follows byte \d+ is left out"):
            last.read()


def test_what_is_no_table_or_tar_is_an_item_of_its_folder_that_says_so(folder: Path) -> None:
    for name in ("f.tar", "g.parquet"):
        (folder / name).write_bytes(b"neither" * 99)
        with pytest.raises(ImageError, match="that can be read"):
            list(Source((str(folder / name),)))
    found = list(Source((str(folder),)))
    assert [item.key for item in found] == [*sorted(NAMES), "f.tar", "g.parquet"]
    for item in found[-2:]:
        with pytest.raises(OSError, match="that can be read"):
            item.read()


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
        for name in (".c.0123abcd.tmp", ".0123456789abcdef.tmp", "notes.tmp", ".notes.tmp"):
            (tmp_path / "new" / "store" / name).write_bytes(b"half")
        store.swept()
        assert store.names() == [".notes.tmp", "b", "notes.tmp"]
