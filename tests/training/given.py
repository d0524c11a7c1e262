"""Training without a command: tiny models and rows that are given outright."""

from ketchup.methods import method
from ketchup.phases import Phases
from ketchup.processes import Processes
from ketchup.runs import Run
from ketchup.tasks.base import Prompts, Task
from ketchup.training.experience import Inputs, Student
from ketchup.training.loop import train
from ketchup.training.selection import selection
from ketchup.training.train_settings import TrainSettings
from ketchup.training.validation import validate
from ketchup.training.weights import StudentWeights

TASK = Task(
    name="tiny",
    kind="reasoning",
    fields={"source": "question", "reference": "answer"},
    prompts=Prompts("{source}", "{source}\nAnswer:", "{source}"),
    max_prompt_tokens=16,
    max_new_tokens=6,
)


def settings(name="sft", **changes):
    given = {"method": name, "task": "gsm8k", "student": "tiny", "steps": 4, "batch_size": 8, "learning_rate": 1e-2}
    return TrainSettings(**{**given, "max_grad_norm": 1e9, **changes})


def inputs_of(rows):
    """Each row an input, its tokens those of whichever writer the method asks for."""
    return Inputs(
        [str(index) for index in range(len(rows))],
        [row.prompt for row in rows],
        {"reference": rows, "teacher": rows},
    )


def fit(given, model, rows, run, *, teacher=None, validation=None, chosen=None, task=TASK):
    """Trains the model on the rows; the method is that of the settings unless one is `chosen`."""
    chosen = chosen or method(given.method, given.options)
    validated = inputs_of(validation or rows[:2])
    return train(
        given,
        chosen,
        task,
        StudentWeights(model),
        teacher,
        inputs_of(rows),
        validated,
        selection(given.select, chosen, None, ()),
        Run(run),
        Processes("float32"),
    )


def validation_of(chosen, model, rows, batch_size=3, teacher=None):
    student = Student(StudentWeights(model), TASK, "auto", Phases())
    return validate(chosen, student, teacher, inputs_of(rows), batch_size, 0, Processes("float32"))
