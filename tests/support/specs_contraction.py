"""Specs of the operators that multiply by weights."""

from __future__ import annotations

from spec import Spec, normal, spec

X, W, B = normal(2, 4, 7, 6), normal(6, 4, 3, 3, seed=1), normal(6, seed=2)
GROUPED = normal(6, 2, 3, 3, seed=1)
WIDE = normal(2, 12, 5, 5)


def conv(about: str, *inputs: object, **attrs: object) -> Spec:
    return spec("Conv", *inputs, about=about, linear=True, **attrs)  # type: ignore[arg-type]


def transposed(about: str, *inputs: object, **attrs: object) -> Spec:
    return spec("ConvTranspose", *inputs, about=about, linear=True, **attrs)  # type: ignore[arg-type]


def einsum(equation: str, *inputs: object) -> Spec:
    return spec("Einsum", *inputs, about=equation, linear=True, equation=equation)  # type: ignore[arg-type]


SPECS: tuple[Spec, ...] = (
    conv("", X, W),
    conv("bias", X, W, B),
    conv("padded", X, W, B, pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
    conv("asymmetric pads", X, W, B, pads=[0, 2, 1, 0]),
    conv("pads wider than the kernel", X, W, B, pads=[3, 4, 5, 3]),
    conv("stride 2", X, W, strides=[2, 2]),
    conv("stride 2 padded", X, W, strides=[2, 2], pads=[1, 1, 1, 1]),
    conv("stride 3 leaving rows out", normal(1, 4, 9, 8), W, strides=[3, 3]),
    conv("stride 5 wider than the kernel", normal(1, 4, 9, 12), W, strides=[5, 5]),
    conv("stride 4 kernel 1 leaving 3 rows out", normal(1, 4, 8, 12), normal(2, 4, 1, 1), strides=[4, 4]),
    conv("dilated", X, W, dilations=[2, 1], pads=[2, 1, 2, 1]),
    conv("strided and dilated", normal(2, 4, 9, 10), W, dilations=[2, 2], strides=[2, 3], pads=[1, 0, 2, 1]),
    conv("groups", X, GROUPED, B, group=2, pads=[1, 1, 1, 1]),
    conv("groups strided", X, GROUPED, B, group=2, strides=[2, 1], pads=[1, 0, 1, 1]),
    conv("depthwise", X, normal(4, 1, 3, 3), group=4, pads=[1, 1, 1, 1]),
    conv("depthwise with multiplier", X, normal(8, 1, 3, 3), group=4, pads=[1, 1, 0, 2]),
    conv("depthwise strided", X, normal(4, 1, 3, 3), group=4, strides=[2, 2], pads=[1, 1, 1, 1]),
    conv("many channels", WIDE, normal(5, 12, 3, 3), pads=[1, 1, 1, 1]),
    conv("many channels dilated", WIDE, normal(5, 12, 2, 3), dilations=[2, 1], pads=[1, 1, 0, 2]),
    conv("pointwise", WIDE, normal(5, 12, 1, 1)),
    conv("one axis", normal(2, 3, 9), normal(4, 3, 3), pads=[1, 2], strides=[2]),
    conv("three axes", normal(1, 2, 4, 5, 4), normal(3, 2, 2, 3, 2), strides=[1, 2, 1], pads=[0, 1, 1, 0, 1, 0]),
    conv("auto_pad SAME_UPPER", X, W, auto_pad="SAME_UPPER", strides=[2, 2]),
    conv("auto_pad SAME_LOWER", X, W, auto_pad="SAME_LOWER", strides=[2, 2]),
    conv("auto_pad SAME_UPPER stride 1", X, normal(6, 4, 2, 4), auto_pad="SAME_UPPER"),
    conv("auto_pad VALID", X, W, auto_pad="VALID", strides=[1, 2]),
    transposed("", X, normal(4, 3, 3, 3)),
    transposed("bias", X, normal(4, 3, 3, 3), normal(3)),
    transposed("stride 2", X, normal(4, 3, 3, 3), strides=[2, 2]),
    transposed("padded", X, normal(4, 3, 3, 3), strides=[2, 3], pads=[1, 0, 1, 2]),
    transposed("output padding", X, normal(4, 3, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),
    transposed("output padding alone", X, normal(4, 3, 3, 3), strides=[2, 3], output_padding=[1, 2]),
    transposed(
        "output shape and padding",
        X,
        normal(4, 3, 3, 3),
        strides=[2, 2],
        output_shape=[14, 12],
        output_padding=[1, 1],
    ),
    transposed("output shape beyond the last window", X, normal(4, 3, 3, 3), strides=[3, 2], output_shape=[22, 14]),
    transposed("dilated", X, normal(4, 3, 3, 3), dilations=[2, 2], pads=[1, 1, 1, 1]),
    transposed("groups", X, normal(4, 3, 3, 3), normal(6), group=2, strides=[2, 2]),
    transposed("output shape", X, normal(4, 3, 3, 3), strides=[2, 2], output_shape=[14, 12]),
    transposed(
        "output shape SAME_UPPER",
        X,
        normal(4, 3, 3, 3),
        strides=[2, 2],
        output_shape=[14, 12],
        auto_pad="SAME_UPPER",
    ),
    transposed("auto_pad SAME_UPPER", X, normal(4, 3, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
    transposed("auto_pad SAME_LOWER", X, normal(4, 3, 3, 3), strides=[2, 2], auto_pad="SAME_LOWER"),
    transposed("one axis", normal(2, 3, 9), normal(3, 2, 4), strides=[3]),
    spec("Gemm", normal(3, 4), normal(4, 5), normal(5), linear=True),
    spec(
        "Gemm",
        normal(4, 3),
        normal(5, 4),
        normal(3, 1),
        about="both transposed",
        linear=True,
        transA=1,
        transB=1,
        alpha=0.7,
        beta=1.3,
    ),
    spec("Gemm", normal(4, 3), normal(4, 5), about="first transposed", linear=True, transA=1, alpha=2.0),
    spec(
        "Gemm",
        normal(3, 4),
        normal(5, 4),
        normal(),
        about="second transposed, scalar bias",
        linear=True,
        transB=1,
        beta=0.5,
    ),
    spec("MatMul", normal(3, 4), normal(4, 5), linear=True),
    spec("MatMul", normal(2, 3, 4), normal(4, 5), about="second broadcast", linear=True),
    spec("MatMul", normal(3, 4), normal(2, 4, 5), about="first broadcast", linear=True),
    spec("MatMul", normal(2, 1, 3, 4), normal(5, 4, 2), about="both broadcast", linear=True),
    spec("MatMul", normal(4), normal(4, seed=1), about="two vectors", linear=True),
    spec("MatMul", normal(4), normal(4, 5), about="vector and matrix", linear=True),
    spec("MatMul", normal(3, 4), normal(4), about="matrix and vector", linear=True),
    spec("MatMul", normal(4), normal(2, 4, 5), about="vector and matrices", linear=True),
    spec("MatMul", normal(2, 3, 4), normal(4), about="matrices and vector", linear=True),
    einsum("ij,jk->ik", normal(3, 4), normal(4, 5)),
    einsum("ij,jk", normal(3, 4), normal(4, 5)),
    einsum("bhqd,bhkd->bhqk", normal(2, 2, 3, 4), normal(2, 2, 5, 4)),
    einsum("...ij,...jk->...ik", normal(2, 3, 4), normal(1, 4, 5)),
    einsum("...ij,jk->...ik", normal(2, 2, 3, 4), normal(4, 5)),
    einsum("...i,...i", normal(2, 3, 4), normal(2, 1, 4)),
    einsum("ij->i", normal(3, 4)),
    einsum("ij->ji", normal(3, 4)),
    einsum("ij,kl->j", normal(3, 4), normal(2, 5)),
    einsum("i,j,k->kij", normal(3), normal(4), normal(2)),
    einsum("ba", normal(3, 4)),
    einsum("ii->i", normal(4, 4)),
    einsum("bii,ij->bj", normal(2, 4, 4), normal(4, 3)),
    einsum("i...->...", normal(3, 4, 2)),
)
