from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fgcam_onnx.errors import OptionError, TargetError
from fgcam_onnx.imaging import find_label, read_labels

NAMES = ("tench, Tinca tinca", "goldfish, Carassius auratus", "great white shark", "tiger shark", "tiger cat")


def test_lines_of_text_are_labels(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(("\ufeff" + "\r\n".join(NAMES) + "\r\n\r\n").encode())
    assert read_labels(path) == NAMES


def test_wordnet_ids_are_left_out_and_gaps_keep_their_place(tmp_path: Path) -> None:
    path = tmp_path / "synset.txt"
    path.write_text("n01440764 tench, Tinca tinca\n\nn01443537\tgoldfish\nn12345678\nnorth 1\n", encoding="utf-8")
    assert read_labels(str(path)) == ("tench, Tinca tinca", "", "goldfish", "n12345678", "north 1")


@pytest.mark.parametrize(
    "content",
    [
        list(NAMES),
        [["n0", name] for name in NAMES],
        {str(index): name for index, name in reversed(list(enumerate(NAMES)))},
        {str(index): ["n0", name] for index, name in enumerate(NAMES)},
        {"id2label": {str(index): name for index, name in enumerate(NAMES)}, "model_type": "vit"},
        {"id2label": list(NAMES)},
    ],
)
def test_every_json_form_gives_the_same_labels(tmp_path: Path, content: Any) -> None:
    (tmp_path / "names.json").write_text(json.dumps(content))
    assert read_labels(tmp_path / "names.json") == NAMES


def test_missing_indices_are_empty(tmp_path: Path) -> None:
    (tmp_path / "coco.json").write_text('{"1": "person", "3": "car"}')
    assert read_labels(tmp_path / "coco.json") == ("", "person", "", "car")


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "3",
        "[]",
        "{}",
        "[1]",
        '{"a": "b"}',
        '{"-1": "b"}',
        '{"9999999": "b"}',
        '{"1": "a", "01": "b"}',
        '[["a"]]',
    ],
)
def test_other_json_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "names.json").write_text(content)
    with pytest.raises(OptionError, match=r"names\.json"):
        read_labels(tmp_path / "names.json")


def test_files_that_cannot_be_labels_are_refused(tmp_path: Path) -> None:
    (tmp_path / "large.txt").write_bytes(b"a\n" * (2**21 + 1))
    (tmp_path / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    (tmp_path / "blank.txt").write_text("\n \n")
    for name, message in (
        ("large", "4 MB"),
        ("latin", "UTF-8"),
        ("blank", "no label"),
        ("absent", "cannot be read"),
    ):
        with pytest.raises(OptionError, match=rf"{name}\.txt.*{message}"):
            read_labels(tmp_path / f"{name}.txt")


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("tench, tinca tinca", 0),
        ("TENCH", 0),
        ("carassius  auratus", 1),
        ("Great_White_Shark", 2),
        ("gold", 1),
        ("tiger s", 3),
        ("tinca t", 0),
    ],
)
def test_labels_are_found_by_name_synonym_and_beginning(text: str, index: int) -> None:
    assert find_label(NAMES, text) == index


def test_a_whole_name_goes_before_a_beginning() -> None:
    assert find_label(("catfish", "cat", "dog, cat"), "cat") == 1
    assert find_label(("catfish", "dog, cat"), "cat") == 1


def test_labels_that_fit_several_are_listed() -> None:
    with pytest.raises(TargetError, match=r"2 labels: 3 \('tiger shark'\), 4 \('tiger cat'\)"):
        find_label(NAMES, "tiger")
    with pytest.raises(TargetError, match=r"12 labels: .* and 4 more"):
        find_label(("crane",) * 12, "crane")


def test_labels_that_fit_none_are_suggested() -> None:
    with pytest.raises(TargetError, match="Did you mean 'goldfish'"):
        find_label(NAMES, "goldfisch")
    for text in ("zzz", "shark", "", "  "):
        with pytest.raises(TargetError):
            find_label(NAMES, text)
