"""The options that say where models compute, the same for every command that loads some."""

from typing import Annotated

import typer

from ketchup.choices import Dtype

PANEL = "Devices and precision"
Device = Annotated[
    str, typer.Option(metavar="auto|cpu|cuda|cuda:N", help="where models compute", rich_help_panel=PANEL)
]
TeacherDtype = Annotated[
    Dtype,
    typer.Option(help="of the teacher's weights; auto: bfloat16 on GPUs that have it", rich_help_panel=PANEL),
]
StudentDtype = Annotated[Dtype, typer.Option(help="of the student's weights; auto: float32", rich_help_panel=PANEL)]
TeacherMemory = Annotated[
    float | None,
    typer.Option(
        metavar="GB",
        help="most of the teacher on each device, the rest on the next GPU, in memory, on disk; default: all on one "
        "device, or over all GPUs where it is larger",
        rich_help_panel=PANEL,
    ),
]
