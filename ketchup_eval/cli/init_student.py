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
from ketchup.where import check_name
from ketchup_eval.cli.checking import words_are_checked
from ketchup_eval.cli.devices import Device
from ketchup_eval.cli.output import say
from ketchup_eval.cli.tasks import TASK_HELP

OF_NEW = "A new model, with --new"
NEEDS_NEW = ("task", "data", "rows", "vocabulary", "width", "seed")
NOT_WITH_NEW = ("teacher", "decoder_layers", "student_dtype", "device")


def init_student(
    ctx: typer.Context,
    layers: Annotated[int, typer.Option(help="How many layers to keep (of the encoder and of the decoder).")],
    out: Annotated[Path, typer.Option(help="Folder for the student; it must be new or empty.")],
    teacher: Annotated[str, typer.Option(help="Built-in name, folder or hub id.")] = "demo-teacher",
    decoder_layers: Annotated[
        int | None, typer.Option(help="How many layers of the decoder to keep.", show_default="as --layers")
    ] = None,
    student_dtype: Annotated[
        Dtype, typer.Option(help="Type of the weights, as they are read and written; auto: float32.")
    ] = "auto",
    device: Device = "cpu",
    new: Annotated[
        bool,
        typer.Option("--new", help="An untrained T5 that reads a task's words.", rich_help_panel=OF_NEW),
    ] = False,
    task: Annotated[str, typer.Option(metavar="NAME|FILE", help=TASK_HELP, rich_help_panel=OF_NEW)] = "demo",
    data: Annotated[Path | None, typer.Option(help="Folder with train.jsonl.", rich_help_panel=OF_NEW)] = None,
    rows: Annotated[int, typer.Option(help="Training rows that the tokenizer reads.", rich_help_panel=OF_NEW)] = 20_000,
    vocabulary: Annotated[int, typer.Option(help="Tokens.", rich_help_panel=OF_NEW)] = 2000,
    width: Annotated[int, typer.Option(help="d_model, of which d_ff is twice.", rich_help_panel=OF_NEW)] = 160,
    seed: Annotated[int, typer.Option(help="Of the weights.", rich_help_panel=OF_NEW)] = 0,
) -> None:
    """Make a student of some of the teacher's layers, evenly spaced, with their weights; or a new model."""
    checks.whole("--layers", layers)
    checks.whole("--decoder-layers", decoder_layers)
    checks.whole("--rows", rows)
    checks.whole("--vocabulary", vocabulary, least=16)
    checks.whole("--width", width)
    checks.seed("--seed", seed)
    given = {name for name in ctx.params if str(ctx.get_parameter_source(name)).endswith("COMMANDLINE")}
    for name in (one for one in (NOT_WITH_NEW if new else NEEDS_NEW) if one in given):
        option = f"--{name.replace('_', '-')}"
        raise UsageError(f"{option} does not go with --new; leave it out." if new else f"{option} goes with --new.")
    check_name(device)
    words_are_checked()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is not an empty folder; choose another --out or delete it.")
    if new:
        _new(layers, out, task, data, rows, vocabulary, width, seed)
    else:
        _kept(layers, out, teacher, decoder_layers, student_dtype, device)


def _new(
    layers: int, out: Path, task_name: str, data: Path | None, rows: int, vocabulary: int, width: int, seed: int
) -> None:
    from ketchup.models.fresh import new_t5, new_tokenizer, texts_of
    from ketchup.tasks import task_named
    from ketchup.tasks.rows import load_inputs

    task = task_named(task_name)
    tokenizer = new_tokenizer(texts_of(task, load_inputs(task, "train", data, rows)), vocabulary)
    model = new_t5(tokenizer, layers, width, seed)
    settings = {"task": task_name, "data": str(data) if data else None, "rows": rows, "vocabulary": vocabulary}
    with atomic_folder(out) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        atomic_write_json(
            folder / MANIFEST, manifest({**settings, "layers": layers, "width": width, "seed": seed, "new": True})
        )
        write_sums(folder)
    say(f"{out}: {model.num_parameters() / 1e6:.1f} million parameters, {len(tokenizer):,} tokens, untrained")


def _kept(layers: int, out: Path, teacher: str, decoder_layers: int | None, student_dtype: Dtype, device: str) -> None:
    from ketchup.devices import own_device, placement
    from ketchup.models.layers import check_saved, choose_layers, keep_layers
    from ketchup.models.loading import load
    from ketchup.where import Where

    placed = placement(own_device(device), Where(device, student_dtype=student_dtype))
    model = load(teacher, dtype=placed.student, device=placed.device)
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
