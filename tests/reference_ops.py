"""Operators that onnx's reference interpreter lacks, or computes in float32 or wrongly, in float64."""

from __future__ import annotations

import math

import numpy as np
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_conv_transpose import ConvTranspose as DenseConvTranspose


class Erf(OpRun):
    """The interpreter's own returns float32."""

    op_domain = ""

    def _run(self, x):
        return (np.vectorize(math.erf, otypes=[x.dtype])(x),)


class ConvTranspose(DenseConvTranspose):
    """The interpreter's own raises for more than one group."""

    op_domain = ""

    def _run(self, X, W, B=None, group=1, **attributes):
        group = group or 1
        parts = zip(np.split(X, group, axis=1), np.split(W, group, axis=0), strict=True)
        y = np.concatenate([super(ConvTranspose, self)._run(x, w, None, group=1, **attributes)[0] for x, w in parts], 1)
        return (y if B is None else y + B.reshape(-1, *[1] * (X.ndim - 2)),)


NEW_OPS = [ConvTranspose, Erf]
