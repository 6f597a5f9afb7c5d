"""The table of methods: what each is, where it comes from, and how it is built from a model.

Imports asked, backward, cam, cells, defaults, errors, fgcam, graph, heads, layers, lrp, matrices, program, quantized,
runtime, saving, subspace, surgery and vjp.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import OptionError, check_known, suggest
from .ablated import ABLATED_CAMS
from .attention import ATTENTION
from .augment import Tunnel as Tunnel
from .augment import check_smoothed as check_smoothed
from .augment import smoothed as smoothed
from .baselines import FITTED
from .blackbox import BLACK_BOX
from .cams import GRADIENT_CAMS, Cam, cam_method
from .deeplift import DEEP_LIFT
from .fullgrad import FULLGRAD
from .gradients import GRADIENTS
from .gradientshap import GRADIENT_SHAP
from .guided import GUIDED
from .integrated import INTEGRATED
from .lrp import LRP
from .masked import FG_CAM_BASES, MASKED_CAMS
from .method import Method, Options, Run
from .refine import REFINED
from .refinement import refining_methods
from .relevance import RELEVANCE
from .segments import SEGMENTED, fitted_segments
from .smooth import SMOOTH, SMOOTH_CAMS

CAMS: dict[str, Cam] = {**GRADIENT_CAMS, **SMOOTH_CAMS, **MASKED_CAMS, **ABLATED_CAMS}
"""The class activation maps, methods of their own."""

BASES: dict[str, Cam] = {**CAMS, **FG_CAM_BASES}
"""The bases of FG-CAM: every CAM, weighed as FG-CAM's authors did where that differs."""

METHODS: dict[str, Method] = {
    **refining_methods(BASES),
    **RELEVANCE,
    **REFINED,
    **LRP,
    **ATTENTION,
    **{name: cam_method(cam) for name, cam in CAMS.items()},
    **GRADIENTS,
    **INTEGRATED,
    **GRADIENT_SHAP,
    **DEEP_LIFT,
    **GUIDED,
    **SMOOTH,
    **FULLGRAD,
    **BLACK_BOX,
    **SEGMENTED,
}

WIDER = {**FITTED, "segments": fitted_segments}
"""Settings that take more than the type of their default, and what makes of them what methods take."""

__all__ = ["BASES", "METHODS", "Method", "Options", "Run", "find_base", "find_method", "settings_of"]


def find_method(name: str) -> Method:
    """Return method ``name``.

    Raises
    ------
    OptionError
        No such method; names the near ones.
    """
    check_known("method", name, METHODS)
    return METHODS[name]


def find_base(name: str) -> Cam:
    """Return the CAM ``name`` that FG-CAM can refine.

    Raises
    ------
    OptionError
        No such CAM; names the near ones.
    """
    check_known("base", name, BASES)
    return BASES[name]


def check_eigen_smooth(method: str, base: str) -> None:
    """Check that the first principal component can take the place of the channel sum.

    Raises
    ------
    OptionError
        The method gives no components for each channel, or they are a principal component already.
    """
    refines = find_method(method).base is not None
    if not refines and method not in BASES:
        raise OptionError(f"eigen_smooth is for class activation maps ({', '.join(BASES)}) and fgcam, not {method}")
    name = base if refines else method
    if name and not BASES[name].smooths:
        raise OptionError(f"eigen_smooth changes nothing of {name}, which is a principal component itself")


def settings_of(method: str, *, base: str = "", given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the settings of ``method`` and their defaults; what refines a base has its settings, too.

    ``given`` is what was asked for, where one setting decides which others there are: lrp's composite.
    """
    row = find_method(method)
    own = dict(row.variants(given or {}) if row.variants is not None else row.settings)
    refined = row.base if row.base is None else base or row.base
    return own | dict(find_base(refined).settings) if refined else own


def fitted_settings(method: str, given: Mapping[str, Any], *, base: str = "") -> dict[str, Any]:
    """Return all settings of ``method`` and the ``base`` it refines: the defaults, and what was given in their place.

    Raises
    ------
    OptionError
        The method has no such setting, or one of another type.
    """
    settings = settings_of(method, base=base, given=given)
    for name, value in given.items():
        if name not in settings:
            own = f"it has {', '.join(settings)}" if settings else "it has no settings of its own"
            raise OptionError(f"{method} has no setting {name!r}; {own}.{suggest(name, settings)}")
        if name in WIDER:
            settings[name] = WIDER[name](value, f"{name} of {method}")
            continue
        kind = type(settings[name])
        if kind is tuple:
            settings[name] = _numbers(method, name, value)
            continue
        if isinstance(value, bool) != (kind is bool) or not isinstance(value, (kind, int) if kind is float else kind):
            raise OptionError(f"{name} of {method} is of type {kind.__name__}, not {value!r}")
        if isinstance(value, float) and not np.isfinite(value):
            raise OptionError(f"{name} of {method} is a finite number, not {value}")
        settings[name] = kind(value) if kind in (bool, float, int, str) else value
    return settings


def _numbers(method: str, name: str, value: Any) -> tuple[float, ...]:
    """Return a number, or a sequence of them, as a tuple."""
    try:
        return tuple(np.asarray(value, np.float64).reshape(-1).tolist())
    except (TypeError, ValueError):
        raise OptionError(f"{name} of {method} is a number or several, not {value!r}") from None
