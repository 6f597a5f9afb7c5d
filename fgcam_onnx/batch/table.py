"""Rows of a Parquet data set: what was found of each picture, its map packed small."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError, check_known
from ..text import unicode_of

if TYPE_CHECKING:
    import pyarrow

Packing = Literal["float16", "float32", "uint8", "none"]
PACKINGS = get_args(Packing)
RECORD = b"fgcam"
"""Where a file's own metadata says which shard it is."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Packed:
    """A map as it is kept: ``map * scale + offset`` is the raw map.

    float16 holds shares of the power of two that no value is above, so that small relevances do not vanish and large
    ones do not overflow; uint8 holds 256 steps from the least value to the largest.
    """

    values: NDArray[Any] | None
    shape: tuple[int, ...]
    scale: float = 1.0
    offset: float = 0.0


def packed(values: Floats, packing: Packing) -> Packed:
    """Return a map as ``packing`` keeps it."""
    if packing == "none":
        return Packed(None, values.shape)
    if packing == "float32":
        return Packed(values.reshape(-1).astype(np.float32), values.shape)
    low, high = float(values.min()), float(values.max())
    if packing == "uint8":
        scale = float(np.float32((high - low) / 255)) or 1.0
        steps = np.rint((values.astype(np.float64) - low) / scale).clip(0, 255)
        return Packed(steps.reshape(-1).astype(np.uint8), values.shape, scale, low)
    largest = max(abs(low), abs(high))
    scale = float(2.0 ** np.clip(np.ceil(np.log2(largest)), -126, 127)) if largest > 0 else 1.0
    return Packed((values.reshape(-1) / np.float32(scale)).astype(np.float16), values.shape, scale)


@dataclass(frozen=True)
class Row:
    """A picture, a target and a layer, or the error that came instead.

    ``view`` is the part of the picture that the map lies over: left, top, right and bottom in the picture's pixels.
    ``failed`` says at what: ``read``, ``decode``, ``prepare``, ``explain``, or ``died`` where the process did.
    """

    id: str
    source: str
    sha256: str | None = None
    target: int | None = None
    label: str | None = None
    score: float | None = None
    probability: float | None = None
    layer: str | None = None
    map: Packed | None = None
    view: tuple[float, float, float, float] | None = None
    conservation: float | None = None
    overlay: str | None = None
    failed: str | None = None
    error: str | None = None
    same: Mapping[str, str] = field(default_factory=dict)


SAME = ("method", "options", "model")
"""Columns in which all rows of a run are alike."""


def schema(packing: Packing) -> pyarrow.Schema:
    """Return the columns of a data set."""
    import pyarrow as pa

    kinds = {"float16": pa.float16(), "float32": pa.float32(), "uint8": pa.uint8(), "none": pa.float16()}
    columns = {
        "id": pa.string(), "source": pa.string(), "sha256": pa.string(), "target": pa.int32(), "label": pa.string(),
        "score": pa.float32(), "probability": pa.float32(), "layer": pa.string(), "map": pa.list_(kinds[packing]),
        "shape": pa.list_(pa.int32()), "scale": pa.float32(), "offset": pa.float32(),
        "view": pa.list_(pa.float32()), "conservation": pa.float32(),
        "overlay": pa.string(), "failed": pa.string(), "error": pa.string(), **dict.fromkeys(SAME, pa.string()),
    }  # fmt: skip
    return pa.schema(list(columns.items()))


def table(rows: Sequence[Row], packing: Packing) -> pyarrow.Table:
    """Return rows as a table."""
    import pyarrow as pa

    names = schema(packing)
    columns: dict[str, Any] = {
        name: [getattr(row, name) for row in rows] for name in names.names if name in Row.__dataclass_fields__
    }
    columns |= {name: [row.same.get(name) for row in rows] for name in SAME}
    for name in ("shape", "scale", "offset"):
        columns[name] = [None if row.map is None else getattr(row.map, name) for row in rows]
    columns["map"] = _lists([None if row.map is None else row.map.values for row in rows], names.field("map").type)
    for name in (f.name for f in names if f.type == pa.string()):
        columns[name] = [None if text is None else unicode_of(text) for text in columns[name]]
    return pa.table([columns[f.name] if f.name == "map" else pa.array(columns[f.name], f.type) for f in names], names)


def _lists(arrays: Sequence[NDArray[Any] | None], kind: Any) -> Any:
    """Return arrays as a column of lists, without a Python object for each number."""
    import pyarrow as pa

    lengths = [0 if a is None else a.size for a in arrays]
    there = [a for a in arrays if a is not None]
    values = pa.array(np.concatenate(there) if there else [], kind.value_type)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets), values, type=kind, mask=pa.array([a is None for a in arrays], pa.bool_())
    )


def encoded(rows: Sequence[Row], packing: Packing, *, record: Mapping[str, Any]) -> bytes:
    """Return rows as a Parquet file that says of itself what ``record`` says."""
    from pyarrow import parquet

    found = table(rows, packing)
    found = found.replace_schema_metadata({RECORD: json.dumps(record).encode()})
    to = io.BytesIO()
    alike = ["source", "label", "layer", "failed", *SAME]
    # least and most of a map's values help no query, and half precision is slow to compare
    asked = [name for name in found.column_names if name != "map"]
    parquet.write_table(found, to, compression="zstd", use_dictionary=alike, write_statistics=asked)
    return to.getvalue()


def record_of(file: Any) -> dict[str, Any] | None:
    """Return what a Parquet file says of itself, None where it is none of ours or not whole."""
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(file) as found:
            said = (found.schema_arrow.metadata or {}).get(RECORD)
    except (ArrowException, OSError):
        return None
    return dict(json.loads(said)) if said else None


def unpacked(rows: Any) -> list[Floats | None]:
    """Return the raw maps of rows that were read back, whichever way they were packed.

    Parameters
    ----------
    rows : pyarrow.Table, pandas.DataFrame, or mapping of str to sequence
        With the columns ``map``, ``shape``, ``scale`` and ``offset``.

    Returns
    -------
    list of ndarray, float32, or None
        One for each row, of its shape; None where there is no map.

    Raises
    ------
    OptionError
        A column is missing.
    """
    names = getattr(rows, "column_names", None) or list(rows)
    for name in ("map", "shape", "scale", "offset"):
        if name not in names:
            raise OptionError(f"maps are unpacked from the columns map, shape, scale and offset; {name!r} is not there")
    return [
        _unpacked(*row) for row in zip(*(_plain(rows[n]) for n in ("map", "shape", "scale", "offset")), strict=True)
    ]


def _plain(column: Any) -> Any:
    if hasattr(column, "combine_chunks"):
        return (
            None if not v.is_valid else v.values.to_numpy(False) if hasattr(v, "values") else v.as_py() for v in column
        )
    return iter(column)


def _unpacked(values: Any, shape: Any, scale: Any, offset: Any) -> Floats | None:
    if values is None or (isinstance(values, float) and np.isnan(values)):
        return None
    found = np.asarray(values, np.float32).reshape(tuple(int(s) for s in shape))
    return found if scale == 1 and offset == 0 else (found * np.float32(scale) + np.float32(offset)).astype(np.float32)


def check_packing(name: str) -> None:
    """Refuse a packing that is not known.

    Raises
    ------
    OptionError
    """
    check_known("packing of maps", name, PACKINGS)
