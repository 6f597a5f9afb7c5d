"""The table of metrics: what each says, where from, and what it reads."""

from __future__ import annotations

from ..errors import check_known
from . import formulas as f
from .case import BASELINES, Asked
from .copies import Blank, Imputed, Kept, Masked, RankMasked, Removed, Squares, Whole
from .metric import Metric, Read
from .second import OfMasked, OfNoisy, OfOther

WHOLE: dict[str, Read] = {"whole": Whole()}
MASKED: dict[str, Read] = WHOLE | {"masked": Masked()}
RANKED: dict[str, Read] = WHOLE | {"masked": RankMasked()}
ROAD: dict[str, Read] = {"most": Imputed(most=True), "least": Imputed(most=False)}
AGAIN: dict[str, Read] = {"again": OfMasked()}

GRAD_CAM_PP = "Chattopadhay et al., 2018, arXiv:1710.11063"
OPTI_CAM = "Zhang et al., 2024, arXiv:2301.07002"
RANKS = "; the map's ranks as mask, so that every map has the same histogram"
RISE = "Petsiuk, Das & Saenko, 2018, arXiv:1806.07421"
POPPI = "Poppi et al., 2021, arXiv:2104.10252"
SCORE_CAM = "Wang et al., 2020, arXiv:1910.01279"
ZHANG = "Zhang et al., 2016, arXiv:1608.00507"
ADEBAYO = "Adebayo et al., 2018, arXiv:1810.03292"
YEH = "Yeh et al., 2019, arXiv:1901.09392"

WORDS = {"zero": "zero (after preprocessing)", "mean": "the picture's mean", "blur": "a blur", "noise": "noise"}


def _deletion(baseline: str, usual: str) -> Metric:
    return Metric(
        "deletion" if baseline == usual else f"deletion_{baseline}",
        f"area under the probability while the highest pixels are replaced by {WORDS[baseline]}",
        "lower", RISE, f.deletion, WHOLE | {"removed": Removed(baseline), "blank": Blank(baseline)},
    )  # fmt: skip


def _insertion(baseline: str, usual: str) -> Metric:
    return Metric(
        "insertion" if baseline == usual else f"insertion_{baseline}",
        f"area under the probability while the highest pixels are laid on {WORDS[baseline]}",
        "higher", RISE, f.insertion, WHOLE | {"kept": Kept(baseline), "blank": Blank(baseline)},
    )  # fmt: skip


def _sanity(how: str, summary: str, places: tuple[float, ...]) -> Metric:
    questions = tuple(Asked(randomised=how, place=place) for place in places)  # type: ignore[arg-type]
    return Metric(f"sanity_{how}", summary, "lower", ADEBAYO, f.likeness, {"others": OfOther(questions)})


_ROWS: tuple[Metric, ...] = (
    Metric("drop", "share of the probability lost under the map as mask", "lower", GRAD_CAM_PP, f.drop, MASKED),
    Metric("increase", "how often the probability rises under the mask", "higher", GRAD_CAM_PP, f.increase, MASKED),
    Metric("gain", "share of the missing probability won under the mask", "higher", OPTI_CAM, f.gain, MASKED),
    Metric("rank_drop", f"drop{RANKS}", "lower", GRAD_CAM_PP, f.drop, RANKED),
    Metric("rank_increase", f"increase{RANKS}", "higher", GRAD_CAM_PP, f.increase, RANKED),
    Metric("rank_gain", f"gain{RANKS}", "higher", OPTI_CAM, f.gain, RANKED),
    *(_deletion(baseline, "zero") for baseline in BASELINES),
    *(_insertion(baseline, "blur") for baseline in ("blur", "zero", "mean", "noise")),
    Metric(
        "flipping", "mean fall of the probability while the highest pixels are replaced by noise", "higher",
        "Bach et al., 2015, doi:10.1371/journal.pone.0130140; Samek et al., 2017, arXiv:1509.06321",
        f.flipping, WHOLE | {"removed": Removed("noise"), "blank": Blank("noise")},
    ),
    Metric(
        "road", "half of: probability without the lowest pixels, imputed from their neighbours, less that without "
        "the highest", "higher", "Rong et al., 2022, arXiv:2202.00449", f.road, ROAD,
    ),
    Metric("coherency", "likeness of the map to that of the picture under it", "higher", POPPI, f.coherency, AGAIN),
    Metric("complexity", "mean of the map scaled to 1", "lower", POPPI, f.complexity),
    Metric("adcc", "harmonic mean of coherency, 1 - complexity and 1 - drop", "higher", POPPI, f.adcc, MASKED | AGAIN),
    Metric(
        "arcc", "harmonic mean of coherency, 1 - complexity and twice ROAD", "higher",
        "Domeniconi et al., 2026, arXiv:2605.14641", f.arcc, ROAD | AGAIN,
    ),
    Metric(
        "infidelity", "squared error of the map's sum over a square, best scaled, as the probability's fall without "
        "the square", "lower", YEH, f.infidelity, WHOLE | {"without": Squares("zero")},
    ),
    Metric(
        "max_sensitivity", "largest change of the map under noise of 2 % of the picture's range, relative to its norm",
        "lower", YEH, f.max_sensitivity, {"noisy": OfNoisy()},
    ),
    Metric("pointing", "how often the highest pixel is on the object, or 15 pixels of 224 near it", "higher", ZHANG,
           f.pointing),
    Metric("pointing_small", "pointing, where the object covers less than half of the picture", "higher", ZHANG,
           f.pointing_small),
    Metric("energy", "share of the positive map on the object", "higher", SCORE_CAM, f.energy),
    Metric("energy_small", "energy, where the object covers less than half of the picture", "higher", SCORE_CAM,
           f.energy_small),
    Metric(
        "iou", "intersection over union of the object and as many of the highest pixels", "higher",
        "Arras, Osman & Samek, 2022, arXiv:2003.07258 (relevance rank accuracy, as intersection over union)", f.iou,
    ),
    Metric("top_pixels", "share of the highest 5 % of the pixels that is on the object", "higher",
           "Theiner, Mueller-Budack & Ewerth, 2022, arXiv:2104.14995", f.top_pixels),
    Metric("entropy", "entropy of the positive map over the pixels, 1 for an even one", "lower",
           "Bhatt, Weller & Moura, 2020, arXiv:2005.00631", f.entropy),
    Metric("gini", "Gini index of the positive map, 0 for an even one", "higher",
           "Chalasani et al., 2020, arXiv:1810.06583", f.gini),
    _sanity("cascading", "likeness to the map once weights are shuffled: the last third, two thirds, all",
            (1 / 3, 2 / 3, 1.0)),
    _sanity("independent", "likeness to the map once one tensor of weights is shuffled: near the output, in the "
            "middle, near the input", (0.0, 0.5, 1.0)),
    Metric("random_logit", "likeness to the map of another class, drawn at random", "lower",
           "Sixt, Granz & Landgraf, 2020, arXiv:1912.09818", f.likeness, {"others": OfOther((Asked("random"),))}),
    Metric("class_sensitivity", "likeness to the map of the likeliest other class", "lower",
           "Li et al., 2020, arXiv:2012.15616", f.likeness, {"others": OfOther((Asked("next"),))}),
)  # fmt: skip

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ROWS}

USUAL: tuple[Metric, ...] = (
    METRICS["rank_drop"],
    METRICS["insertion"].at(16),
    METRICS["deletion"].at(16),
    METRICS["energy"],
    METRICS["energy_small"],
    METRICS["pointing_small"],
    METRICS["iou"],
)
"""What is measured when nothing is said: what can be trusted across resolutions; the last four need boxes or masks."""


def find_metric(name: str, *, cells: int = 1) -> Metric:
    """Return metric ``name``, for maps averaged over cells of ``cells`` pixels.

    Raises
    ------
    OptionError
        No such metric; names the near ones.
    """
    check_known("metric", name, METRICS)
    return METRICS[name].at(cells)
