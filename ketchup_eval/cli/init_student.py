"""`ketchup init-student`: a smaller model to start from."""

from pathlib import Path
from typing import Annotated

import typer

from ketchup import checks
from ketchup.choices import Dtype
from ketchup.errors import UsageError
from ketchup.files import atomic_folder, atomic_write_json
from ketchup.hashes import write_sums
from ketchup.manifests import manifest
from ketchup.runs import MANIFEST
from ketchup_eval.cli.output import say


def init_student(
    layers: Annotated[int, typer.Option(help="How many layers to keep (of the encoder and of the decoder).")],
    out: Annotated[Path, typer.Option(help="Folder for the student; it must be new or empty.")],
    teacher: Annotated[str, typer.Option(help="Built-in name, folder or hub id.")] = "demo-teacher",
    decoder_layers: Annotated[
        int | None, typer.Option(help="How many layers of the decoder to keep.", show_default="as --layers")
    ] = None,
    student_dtype: Annotated[
        Dtype, typer.Option(help="Type of the weights, as they are read and written; auto: float32.")
    ] = "auto",
) -> None:
    """Make a student of some of the teacher's layers, evenly spaced, with their weights."""
    checks.whole("--layers", layers)
    checks.whole("--decoder-layers", decoder_layers)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is not an empty folder; choose another --out or delete it.")

    import torch

    from ketchup.devices import Where, placement
    from ketchup.models.layers import check_saved, choose_layers, keep_layers
    from ketchup.models.loading import load

    placed = placement(torch.device("cpu"), Where("cpu", student_dtype=student_dtype))
    model = load(teacher, dtype=placed.student)
    kept = choose_layers(model.network, layers, decoder_layers)
    student = keep_layers(model.network, layers, decoder_layers)
    settings: dict[str, object] = {"teacher": teacher, "layers": layers, "decoder_layers": decoder_layers}
    settings["dtype"] = placed.recorded["student_dtype"]
    with atomic_folder(out) as folder:
        student.save_pretrained(folder)
        check_saved(student, folder)
        model.tokenizer.save_pretrained(folder)
        atomic_write_json(folder / MANIFEST, {**manifest(settings), "kept": kept})
        write_sums(folder)

    sizes = [network.num_parameters() / 1e6 for network in (student, model.network)]
    say(f"{out}: {sizes[0]:.1f} of {sizes[1]:.1f} million parameters")
    for field, numbers in kept.items():
        say(f"{field}: kept {', '.join(map(str, numbers))}")
