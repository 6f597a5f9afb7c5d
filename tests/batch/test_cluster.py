"""On Ray the rows are those of one process, to the bit; workers that die are replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pytest

from fgcam_onnx.batch import explain_dataset, explain_source, unpacked
from fgcam_onnx.errors import OptionError, TargetError
from fgcam_onnx.stream.rays import ROOM, share_of

RESNET = "resnet_shapes.dynamo.onnx"
OPTIONS: dict[str, Any] = {"method": "gradcam", "batch": 2, "shard": 4}


@pytest.mark.parametrize(("cores", "workers"), [(2, 2), (1, 1), (16, 15), (16, 16), (64, 4)])
def test_workers_leave_a_core_to_tasks_that_read(cores: float, workers: int) -> None:
    share = share_of(cores, workers)
    assert 0 < share <= 1
    assert cores - workers * share >= min(ROOM, cores / 2) - 1e-9


@pytest.fixture
def broken(bundled: Path, tmp_path: Path) -> Path:
    """The bundled pictures and a file that is none."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path in (bundled / "pictures").glob("*.png"):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def rows(sink: Path) -> pa.Table:
    return pyarrow.dataset.dataset(sink).to_table().sort_by("id")


@pytest.mark.filterwarnings("default")
def test_two_workers_on_two_cores_give_the_rows_of_one_process(
    ray: Any, bundled: Path, broken: Path, tmp_path: Path
) -> None:
    local = explain_source(bundled / RESNET, str(broken), sink=tmp_path / "local", **OPTIONS)
    found = explain_source(bundled / RESNET, str(broken), sink=tmp_path / "ray", engine="ray", workers=2, **OPTIONS)
    assert rows(tmp_path / "ray").equals(rows(tmp_path / "local"))
    assert (found.pictures, found.errors) == (local.pictures, {"decode": 1})


@pytest.mark.filterwarnings("default")
def test_a_data_set_of_rays_is_explained_row_by_row(ray: Any, bundled: Path, broken: Path, tmp_path: Path) -> None:
    explain_source(bundled / RESNET, str(broken), sink=tmp_path / "local", **OPTIONS)
    pictures = ray.data.read_binary_files(str(broken), include_paths=True)
    made = explain_dataset(pictures, bundled / RESNET, method="gradcam", batch=2, workers=2)
    found, expected = pa.concat_tables(ray.get(made.to_arrow_refs())).sort_by("id"), rows(tmp_path / "local")
    assert [Path(path).name for path in found["id"].to_pylist()] == expected["id"].to_pylist()
    for name in ("sha256", "target", "layer", "view", "failed", "model"):
        assert found[name].to_pylist() == expected[name].to_pylist(), name
    for own, other in zip(unpacked(found), unpacked(expected), strict=True):
        assert (own is None) == (other is None)
        if own is not None and other is not None:
            np.testing.assert_allclose(own, other, rtol=1e-3, atol=1e-3 * float(np.abs(other).max()))


@pytest.mark.filterwarnings("default")
def test_what_does_not_fit_is_refused_before_workers_start(ray: Any, bundled: Path, broken: Path) -> None:
    with pytest.raises(TargetError, match="out of range"):
        explain_source(bundled / RESNET, str(broken), sink=broken / "s", engine="ray", targets=(99,), **OPTIONS)
    gpus: dict[str, Any] = {"engine": "ray", "gpus_per_worker": 1, **OPTIONS}
    with pytest.raises(OptionError, match="the device is cpu"):
        explain_source(bundled / RESNET, str(broken), sink=broken / "s", **gpus)
    with pytest.raises(OptionError, match="Ray has 0"):
        explain_source(bundled / RESNET, str(broken), sink=broken / "s", device="auto", **gpus)
    with pytest.raises(OptionError, match="cannot reach it"):
        explain_source(bundled / RESNET, str(broken), sink="memory://s", engine="ray", **OPTIONS)
    assert not (broken / "s" / "_manifest.json").exists()


def test_options_of_ray_are_refused_without_it(bundled: Path, broken: Path) -> None:
    with pytest.raises(OptionError, match="are for the engine ray"):
        explain_source(bundled / RESNET, str(broken), sink=broken / "s", gpus_per_worker=0.5, **OPTIONS)
