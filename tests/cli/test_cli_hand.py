"""What the terminal says, and leaves unsaid: whole names, groups, completion, files that are no models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete

from fgcam_onnx.cli import COMMANDS, cli
from fgcam_onnx.cli.grouping import COMPLETERS, GROUPS
from fgcam_onnx.loading.foreign import KINDS

MODELS = Path(__file__).parents[2] / "exported_models"
RESNET, TWO = MODELS / "resnet_shapes.dynamo.onnx", MODELS / "pictures" / "two.png"


@pytest.mark.parametrize("name", ["p.png", "a_photograph_with_a_rather_long_name_00000293.png"])
def test_names_of_files_are_whole_at_80_columns(fgcam: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shutil.copy(TWO, name)
    ran = fgcam("explain", RESNET, name, "--layer", "layer2", "--layer", "layer4", "--target", "top:2", "-o", "out")
    written = sorted(p.name for p in Path("out").glob("*.png") if "sheet" not in p.name)
    assert len(written) == 4
    for file in written:
        assert file in ran.out.split()
    assert "star" in ran.out
    assert "0.151" in ran.out


def test_what_a_map_conserves_is_said_and_explained_only_where_more_is_asked_for(fgcam: Any) -> None:
    usual, more = (fgcam("explain", RESNET, TWO, *flags).out for flags in ([], ["--verbose"]))
    assert "conserved" not in usual
    assert "conserved: sum of the map over" in more
    kept = json.loads(Path("explanations/explanations.json").read_text())["images"][0]["explanations"][0]
    assert f"{kept['conservation']['input']:.4f}" in more


def test_quiet_says_what_failed_and_nothing_else(fgcam: Any) -> None:
    ran = fgcam("explain", RESNET, TWO, "missing.png", "-q")
    assert ran.out == ""
    first, second = ran.err.splitlines()
    assert first == "missing.png: no such file. Check the spelling and the folder."
    assert second == "1 of 2 pictures failed"
    assert (ran.code, Path("explanations/two.input.ring.png").is_file()) == (1, True)
    assert json.loads(fgcam("explain", RESNET, TWO, "-q", "--json").out)["images"]
    assert fgcam("sweep", RESNET, TWO, "--method", "gradcam", "--layer", "layer4", "--quiet").out == ""
    again = fgcam("explain", "--from", "explanations/explanations.json", "--quiet", "-o", "again")
    assert (again.code, again.out) == (0, "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_is_for_in_one_group(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    ctx = click.Context(command, info_name=name)
    grouped = [option for names in GROUPS.values() for option in names]
    assert len(grouped) == len(set(grouped))
    for param in command.get_params(ctx):
        if isinstance(param, click.Option):
            assert param.help, f"{name} {param.opts[0]}"
    text = command.get_help(ctx)
    assert "--quiet" in text
    for param in command.get_params(ctx):
        if isinstance(param, click.Option) and not param.hidden:
            assert param.opts[-1] in text


def test_many_options_are_shown_in_groups() -> None:
    command = cli.get_command(click.Context(cli), "explain")
    assert command is not None
    text = command.get_help(click.Context(command, info_name="explain"))
    titles = [title for title in GROUPS if f"\n{title}:\n" in text]
    assert titles == list(GROUPS)
    assert "\nOptions:\n" not in text


def completed(words: list[str], incomplete: str) -> list[str]:
    return [item.value for item in ShellComplete(cli, {}, "fgcam", "_").get_completions(words, incomplete)]


@pytest.mark.parametrize(
    ("words", "incomplete", "some"),
    [
        (["explain", str(RESNET), "--method"], "grad", {"gradcam", "gradcam++"}),
        (["explain", str(RESNET), str(TWO), "--layer"], "layer", {"layer1", "layer4"}),
        (["explain", str(RESNET), "--layer"], "in", {"input"}),
        (["explain", str(RESNET), "--target"], "s", {"star", "square", "sum:"}),
        (["explain", str(RESNET), "--preprocess"], "image", {"imagenet"}),
        (["explain", str(RESNET), "--colormap"], "tur", {"turbo"}),
        (["explain", str(RESNET), "--composite"], "epsilon", {"epsilonplus"}),
        (["sweep", str(RESNET), "--base"], "score", {"scorecam"}),
    ],
)
def test_values_are_completed(words: list[str], incomplete: str, some: set[str]) -> None:
    found = completed(words, incomplete)
    assert some <= set(found), found
    assert all(name.startswith(incomplete) for name in found)


def test_a_completion_that_cannot_be_had_is_none_and_no_error() -> None:
    assert completed(["explain", "missing.onnx", "--layer"], "l") == []
    assert completed(["explain", "--target"], "s") == []
    assert set(COMPLETERS) <= {name for names in GROUPS.values() for name in names}


@pytest.mark.parametrize("ending", KINDS)
def test_a_file_that_is_no_onnx_is_told_by_what_it_is_with_the_way_out(fgcam: Any, ending: str) -> None:
    path = Path(f"net{ending}")
    path.write_bytes(b"\x08\x01 anything")
    ran = fgcam("inspect", path)
    assert ran.code == 1
    assert f"net{ending} is " in ran.err
    assert "no ONNX file" in ran.err
    assert "FILE" not in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_folders_and_swapped_arguments_are_seen(fgcam: Any) -> None:
    Path("saved").mkdir()
    Path("saved/saved_model.pb").write_bytes(b"x")
    assert "tf2onnx.convert --saved-model saved" in fgcam("inspect", "saved").err
    Path("empty").mkdir()
    assert "name the .onnx file in it" in fgcam("inspect", "empty").err
    ran = fgcam("explain", TWO, RESNET)
    assert ran.code == 1
    assert "is a picture (PNG), not an ONNX file; the model comes first" in ran.err


def test_an_onnx_file_is_read_whatever_it_is_called(fgcam: Any) -> None:
    """Negative control: a name alone condemns no file that is an ONNX model and ends in .onnx."""
    shutil.copy(RESNET, "net.pt.onnx")
    assert fgcam("inspect", "net.pt.onnx").code == 0


def test_a_sheet_says_how_sure_the_model_is_and_what_colours_mean(tmp_path: Path) -> None:
    from fgcam_onnx.explainer import Explainer
    from fgcam_onnx.imaging import Style, preprocess_from
    from fgcam_onnx.pictures import explain_pictures
    from fgcam_onnx.written import legend

    explainer = Explainer(RESNET, method="gradcam")
    spec = explainer.model.inputs[0]
    prepared = preprocess_from(RESNET.with_suffix(".json")).bound(spec.shape, spec.dtype)
    (picture,) = explain_pictures([explainer], [TWO], preprocess=prepared, top=2)
    assert [e.told for e in picture.explained] == ["probability 0.836", "probability 0.151"]
    assert legend(Style()) != legend(Style(signed=True))


def test_exit_codes_stand_in_the_help(fgcam: Any) -> None:
    text = " ".join(fgcam("--help").out.split())
    for word in ("0 done", "1 an error", "2 wrong usage", "130 stopped with Ctrl-C", "_FGCAM_COMPLETE"):
        assert word in text
