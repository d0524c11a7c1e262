"""What the results of a study are called: the folders of its runs, and the nodes of its graph."""

from ketchup_eval.study.plan import StudentPlan, TaskPlan, Tuning


def init(task: TaskPlan, owner: str) -> str:
    """A model before anything trained it, of a student or a teacher."""
    return f"init-{owner}-{task.name}"


def start(task: TaskPlan, student: StudentPlan) -> str:
    """A student's pre-distillation."""
    return f"start-{student.name}-{task.name}"


def teacher(task: TaskPlan, name: str) -> str:
    """A teacher that was fine-tuned on a task."""
    return f"{name}-{task.name}"


def variance(task: TaskPlan, student: StudentPlan) -> str:
    """The measurement of a student."""
    return f"variance-{student.name}-{task.name}"


def ranking(task: TaskPlan, student: StudentPlan) -> str:
    """What the measurement foretells of a student's methods."""
    return f"predict-{student.name}-{task.name}"


def trainings(task: TaskPlan, student: StudentPlan) -> dict[str, list[str]]:
    """By method, the trainings of a student, one a seed."""
    return {
        method: [f"{student.name}-{task.name}-{method}-s{seed}" for seed in student.seeds] for method in student.methods
    }


def trials(task: TaskPlan, student: StudentPlan, method: str, tuning: Tuning | None) -> dict[float, str]:
    """By learning rate, the trainings that a method's rate is chosen from."""
    rates = tuning.rates if tuning else ()
    return {rate: f"tune-{student.name}-{task.name}-{method}-{rate:g}" for rate in rates}


def rate(task: TaskPlan, student: StudentPlan, method: str) -> str:
    """The choice of a method's learning rate."""
    return f"rate-{student.name}-{task.name}-{method}"


def evaluation(task: TaskPlan, student: StudentPlan, method: str) -> str:
    """The scores of a method's runs together."""
    return f"evaluate-{student.name}-{task.name}-{method}"
