"""A data set from buckets into a bucket: a server on the loopback that speaks S3, through fsspec and s3fs."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pytest
from pyarrow import parquet

from fgcam_onnx.batch import explain_source
from fgcam_onnx.errors import ImageError, OutputError

RESNET = "resnet_shapes.dynamo.onnx"
OPTIONS: dict[str, Any] = {"method": "gradcam", "batch": 2, "shard": 4, "workers": 2}
NAMES = ("circle.png", "cross.png", "heart.png", "ring.png", "star.png", "two.png")


@pytest.fixture(scope="module")
def bucket(bundled: Path) -> Iterator[Any]:
    """The file system of a bucket ``photos`` with pictures as files, in a tar and in Parquet."""
    server = pytest.importorskip("moto.server", reason="no server that speaks S3: pip install 'moto[server]' s3fs")
    pytest.importorskip("s3fs", reason="no client of S3: pip install s3fs")
    import fsspec

    own = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    own.start()
    host, port = own.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        }.items():  # fmt: skip
            patch.setenv(name, value)
        files = fsspec.filesystem("s3")
        files.mkdir("photos")
        contents = {name: (bundled / "pictures" / name).read_bytes() for name in NAMES}
        whole, table = io.BytesIO(), io.BytesIO()
        with tarfile.open(fileobj=whole, mode="w") as tar:
            for name, content in contents.items():
                files.pipe_file(f"photos/in/{name}", content)
                (info := tarfile.TarInfo(name)).size = len(content)
                tar.addfile(info, io.BytesIO(content))
        files.pipe_file("photos/tars/0.tar", whole.getvalue())
        parquet.write_table(pa.table({"image": list(contents.values())}), table, row_group_size=4)
        files.pipe_file("photos/tables/0.parquet", table.getvalue())
        yield files
    own.stop()


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("source", ["in", "in/*.png", "tars/*.tar", "tables/0.parquet"])
def test_a_bucket_holds_what_a_folder_does_and_a_run_goes_on(
    source: str, bucket: Any, bundled: Path, tmp_path: Path
) -> None:
    pictures = [str(bundled / "pictures" / name) for name in NAMES]
    explain_source(bundled / RESNET, pictures, sink=tmp_path / "s", **OPTIONS)
    run: dict[str, Any] = {"sink": f"s3://photos/maps/{source.split('/')[0]}{len(source)}", **OPTIONS}
    first = explain_source(bundled / RESNET, f"s3://photos/{source}", stop=lambda: True, **run)
    second = explain_source(bundled / RESNET, f"s3://photos/{source}", resume=True, **run)
    assert (first.pictures, second.pictures, second.now) == (4, 6, 2)
    names = sorted(bucket.ls(run["sink"], detail=False, refresh=True))
    assert [n.rsplit("/", 1)[1] for n in names] == [
        "_manifest.json", "part-00000000.parquet", "part-00000001.parquet"
    ]  # fmt: skip
    found = pa.concat_tables([parquet.read_table(io.BytesIO(bucket.cat_file(n))) for n in names[1:]])
    wanted = pyarrow.dataset.dataset(tmp_path / "s").to_table()
    assert found.drop_columns(["id", "source"]).equals(wanted.drop_columns(["id", "source"]))
    assert all(url.startswith("s3://photos/") for url in found["source"].to_pylist())


@pytest.mark.filterwarnings("default")
def test_a_bucket_that_is_not_there_is_refused_and_not_made(bucket: Any, bundled: Path) -> None:
    with pytest.raises(ImageError, match="no such file or folder"):
        explain_source(bundled / RESNET, "s3://fotos/in", sink="s3://photos/none", **OPTIONS)
    with pytest.raises(OutputError, match="bucket does not exist"):
        explain_source(bundled / RESNET, "s3://photos/in", sink="s3://fotos/maps", **OPTIONS)
    assert not bucket.exists("fotos")
