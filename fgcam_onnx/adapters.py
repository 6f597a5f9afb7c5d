"""Let evaluation and saliency libraries use an exported model: callables of the shape that they ask for.

None of those libraries is imported. Quantus (Hedström et al., 2023, JMLR 24, arXiv:2202.06861) takes an explaining
function and a torch module; PAIR's saliency library a function that runs the model and returns named arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .cam.fusion import resized
from .errors import InputError, OptionError, TargetError, suggest
from .explainer import Explainer
from .forward import forward, picture_sides
from .methods.method import Feeds, Options, runner, start
from .program import SEED, TARGET, append_features, append_gradients
from .targets import AnyTarget, aimed, fitted_classes, objectives_of

__all__ = [
    "CONVOLUTION_LAYER_VALUES",
    "CONVOLUTION_OUTPUT_GRADIENTS",
    "INPUT_OUTPUT_GRADIENTS",
    "OUTPUT_LAYER_VALUES",
    "quantus_explain",
    "quantus_model",
    "saliency_call",
]

INPUT_OUTPUT_GRADIENTS = "INPUT_OUTPUT_GRADIENTS"
CONVOLUTION_LAYER_VALUES = "CONVOLUTION_LAYER_VALUES"
CONVOLUTION_OUTPUT_GRADIENTS = "CONVOLUTION_OUTPUT_GRADIENTS"
OUTPUT_LAYER_VALUES = "OUTPUT_LAYER_VALUES"
KEYS = (CONVOLUTION_LAYER_VALUES, CONVOLUTION_OUTPUT_GRADIENTS, INPUT_OUTPUT_GRADIENTS, OUTPUT_LAYER_VALUES)

CallModel = Callable[..., dict[str, NDArray[Any]]]
Explain = Callable[..., NDArray[np.float32]]


# ---- Quantus


def quantus_explain(explainer: Explainer, *, layer: str | None = None) -> Explain:
    """Return an ``explain_func`` for Quantus: ``explain_func(model, inputs, targets)`` gives (N, 1, H, W).

    Parameters
    ----------
    explainer : Explainer
        Its maps are enlarged bilinearly to the input's size where they are coarser.
    layer : str, optional
        Whose map is taken, where the explainer has several.

    Notes
    -----
    Quantus passes the model that is to be explained. Only None and :func:`quantus_model`'s are taken: metrics that
    randomise a model's weights would otherwise be told that nothing changed.
    """

    def explain(model: Any, inputs: ArrayLike, targets: ArrayLike, **options: Any) -> NDArray[np.float32]:
        if model is not None and getattr(model, "explainer_model", None) is not explainer.model:
            raise OptionError(
                f"the explanation is of the exported model, not of the {type(model).__name__} that was passed; pass "
                "quantus_model(…) of the same model. Metrics that change the weights cannot be used"
            )
        x = np.asarray(inputs)
        e = explainer(x, target=np.asarray(targets).astype(np.int64))
        if layer is not None and layer not in e.maps:
            raise OptionError(f"there is no map of {layer!r}, only of {', '.join(e.maps)}")
        raw = e.map if layer is None else e.maps[layer]
        axes = picture_sides(explainer.model, explainer.input)
        if axes is None:
            raise InputError(f"Quantus' attributions are of pictures, not of inputs of {list(x.shape)}")
        return np.asarray(resized(raw, (x.shape[axes[0]], x.shape[axes[1]])), np.float32)[:, None]

    return explain


def quantus_model(explainer: Explainer, module: type) -> Any:
    """Return the exported model as a module that Quantus' metrics take.

    Parameters
    ----------
    explainer : Explainer
    module : type
        ``torch.nn.Module``, given so that torch is not needed here.

    Returns
    -------
    module
        Its ``forward`` takes a tensor and returns the logits as a tensor on the same device; it has no gradients
        and no parameters.
    """

    def forward_tensor(self: Any, x: Any) -> Any:
        return x.new_tensor(explainer.predict(x.detach().cpu().numpy()))

    body: dict[str, Any] = {
        "forward": forward_tensor,
        "explainer_model": explainer.model,
        # Quantus copies models, but a session cannot be copied; nothing in this one changes
        "__deepcopy__": lambda self, memo: self,
        "__doc__": "The exported model: logits, without gradients and parameters.",
    }
    made = type("ExportedModel", (module,), body)()
    return made.eval() if hasattr(made, "eval") else made


# ---- saliency


def saliency_call(explainer: Explainer, *, target: AnyTarget = None, channels_last: bool = True) -> CallModel:
    """Return a ``call_model_function`` for PAIR's saliency library.

    Parameters
    ----------
    explainer : Explainer
        Its model, and its first layer as the convolution's, are used; its method is not.
    target : int or target, optional
        What is explained; may be given instead as ``call_model_args={"target": …}``.
    channels_last : bool
        Whether the library's pictures are (H, W, C), as its methods ask for. They are turned to what the
        model takes, and gradients and activations turned back.

    Returns
    -------
    callable
        ``call(x_value_batch, call_model_args=None, expected_keys=None)``, which returns those of the library's
        arrays that are asked for.
    """
    built: dict[tuple[tuple[int, ...], bool], tuple[Options, Callable[[Feeds], dict[str, NDArray[Any]]]]] = {}
    axes = picture_sides(explainer.model, explainer.input)
    turned = channels_last and axes == (2, 3)

    def call(
        x_value_batch: ArrayLike,
        call_model_args: Mapping[str, Any] | None = None,
        expected_keys: Sequence[str] | None = None,
    ) -> dict[str, NDArray[Any]]:
        wanted = KEYS if expected_keys is None else tuple(expected_keys)
        for key in wanted:
            if key not in KEYS:
                raise OptionError(f"unknown array {key!r}; there are {', '.join(KEYS)}.{suggest(key, KEYS)}")
        given = dict(call_model_args or {})
        chosen = given.pop("target", target)
        if given:
            raise OptionError(f"call_model_args takes target, not {', '.join(map(repr, given))}")
        if chosen is None:
            raise TargetError(
                'say what is explained: saliency_call(…, target=281) or call_model_args={"target": 281}. '
                "The top class would change along a path of inputs"
            )
        x = np.asarray(x_value_batch, np.float32)
        feeds = explainer.feeds(np.moveaxis(x, -1, 1) if turned else x)
        size = feeds[explainer.input].shape[1:]
        objectives, _ = objectives_of(chosen, len(x), head=explainer.head)
        if (size, bool(objectives)) not in built:
            options, _ = explainer.options(size if explainer.sizes_are_free else (), seeded=bool(objectives))
            built[size, bool(objectives)] = options, _gradient_program(options)
        options, run = built[size, bool(objectives)]
        if objectives:
            predicted = forward(options, others=any(o.reads_others for o in objectives))(feeds)
            aim = aimed(objectives, predicted)
            feeds[SEED] = aim.weights.reshape(len(x), -1)
        else:
            feeds[TARGET], _ = fitted_classes(chosen, len(x), options.flow.classes)
        found = run(feeds)
        found[OUTPUT_LAYER_VALUES] = aim.score if objectives else found["score"]
        if turned:
            found[INPUT_OUTPUT_GRADIENTS] = np.moveaxis(found[INPUT_OUTPUT_GRADIENTS], 1, -1)
        axis = options.layers[0].channel_axis
        for key in (CONVOLUTION_LAYER_VALUES, CONVOLUTION_OUTPUT_GRADIENTS):
            found[key] = np.moveaxis(found[key], axis, -1) if channels_last else found[key]
        return {key: found[key] for key in wanted}

    return call


def _gradient_program(options: Options) -> Callable[[Feeds], dict[str, NDArray[Any]]]:
    """Return what gives the score, the activations of the first layer, and the gradients there and at the input."""
    emitter, scored = start(options)
    layer = options.layers[0]
    names = list(dict.fromkeys((options.input, layer.name)))
    gradients = append_gradients(
        emitter, names, output=options.score.logits, seed=scored.seed, saturation=options.saturation
    )
    emitter.output(INPUT_OUTPUT_GRADIENTS, gradients[options.input])
    emitter.output(CONVOLUTION_LAYER_VALUES, append_features(emitter, layer))
    emitter.output(CONVOLUTION_OUTPUT_GRADIENTS, layer.folded(gradients[layer.name]))
    return runner(options, emitter.build())
