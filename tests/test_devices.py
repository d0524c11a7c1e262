"""Which device and which types a process gets: of the machine it runs on, and of machines that are made up."""

import pytest
import torch

from ketchup import devices
from ketchup.devices import check_device, own_device, placement
from ketchup.errors import UsageError
from ketchup.models.placement import usual_processes
from ketchup.where import Where
from tests import tiny


@pytest.fixture
def machine(monkeypatch):
    """Makes up a machine with so many GPUs, for a process of so many on it."""

    def make(gpus, beside=1, rank=0):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.version, "cuda", "12.8" if gpus else None)
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(beside))
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)

    return make


@pytest.mark.parametrize(
    ("gpus", "beside", "rank", "name", "device"),
    [
        (0, 1, 0, "auto", "cpu"),
        (0, 2, 1, "auto", "cpu"),
        (2, 1, 0, "auto", "cuda:0"),
        (2, 1, 0, "cuda", "cuda:0"),
        (2, 1, 0, "cuda:1", "cuda:1"),
        (2, 1, 0, "cpu", "cpu"),
        (2, 2, 1, "auto", "cuda:1"),
        (2, 2, 0, "cuda", "cuda:0"),
        (1, 2, 1, "cpu", "cpu"),
    ],
)
def test_each_process_takes_its_own(machine, gpus, beside, rank, name, device):
    machine(gpus, beside, rank)
    assert own_device(name) == torch.device(device)


def test_a_launcher_may_keep_processes_off_the_gpus(machine, monkeypatch):
    machine(2)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert own_device("auto") == torch.device("cpu")


@pytest.mark.parametrize(
    ("gpus", "processes", "name", "said"),
    [
        (0, 1, "cuda", "built without CUDA"),
        (0, 1, "cuda:0", "--device cuda:0 needs CUDA"),
        (2, 1, "cuda:2", "cuda:0 to cuda:1"),
        (1, 1, "cuda:7", "are cuda:0"),
        (2, 2, "cuda:1", "use cuda"),
        (2, 3, "cuda", "3 processes cannot share cuda:0 to cuda:1"),
        (2, 3, "auto", "--device cpu"),
        (2, 1, "gpu", "auto, cpu, cuda or cuda:N, not 'gpu'"),
        (2, 1, "cuda:", "not 'cuda:'"),
        (2, 1, "cuda:-1", "not 'cuda:-1'"),
        (2, 1, "CPU", "not 'CPU'"),
        (2, 1, "cpu:0", "not 'cpu:0'"),
        (2, 1, "mps", "not 'mps'"),
        (2, 1, "", "not ''"),
        (2, 1, "cuda:0\n", "not 'cuda:0"),
    ],
)
def test_what_is_not_there_is_refused_in_a_sentence(machine, gpus, processes, name, said):
    machine(gpus)
    with pytest.raises(UsageError, match=said) as caught:
        check_device(name, processes)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("gpus", "processes", "each", "name", "said"),
    [
        (8, 2, 4, "cuda", None),
        (8, 1, 8, "auto", None),
        (4, 1, 2, "cuda:2", None),
        (0, 4, 8, "auto", None),  # the processes of a CPU share it
        (2, 1, 4, "cpu", None),
        (4, 2, 4, "auto", r"with :tp4 takes 4 GPUs for each of 2 processes, and there are cuda:0 to cuda:3; use fewer"),
        (1, 1, 2, "cuda", r"takes 2 GPUs for a model, and there are cuda:0;"),
        (4, 1, 2, "cuda:3", r"for a model from cuda:3 on, and there are cuda:0 to cuda:3;"),
    ],
)
def test_processes_that_take_several_gpus_each(machine, gpus, processes, each, name, said):
    machine(gpus)
    if said is None:
        check_device(name, processes, each)
        return
    with pytest.raises(UsageError, match=said):
        check_device(name, processes, each)


def test_processes_of_a_launcher_need_all_of_their_gpus(machine):
    machine(4, beside=2, rank=1)
    assert own_device("auto", 2) == torch.device("cuda:1")
    with pytest.raises(UsageError, match="takes 3 GPUs for each of 2 processes"):
        own_device("auto", 3)


def test_types_that_were_left_open(monkeypatch):
    """A teacher in bfloat16 where the GPU has it, all else in float32."""
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 0)
    monkeypatch.setattr(devices, "_computes", lambda device, dtype: True)
    monkeypatch.setattr(devices, "describe_device", str)
    narrow = {"teacher_dtype": "bfloat16", "student_dtype": "float32"}
    wide = {"teacher_dtype": "float32", "student_dtype": "float32"}
    assert placement(cpu).recorded == wide
    monkeypatch.setattr(devices, "has_bfloat16", lambda device: True)
    assert placement(gpu).recorded == narrow
    assert placement(gpu, Where(teacher_dtype="float32")).recorded == wide
    monkeypatch.setattr(devices, "has_bfloat16", lambda device: device.type == "cpu")
    assert placement(gpu).recorded == wide  # an older GPU, which would compute it in float32
    with pytest.raises(UsageError, match=r"--student-dtype bfloat16: cuda:0 does not compute in bfloat16"):
        placement(gpu, Where(student_dtype="bfloat16"))


def test_a_type_that_the_device_cannot_compute_in_is_refused(monkeypatch):
    def refuse(*_):
        raise RuntimeError("\"addmm_impl_cpu_\" not implemented for 'Half'")

    monkeypatch.setattr(torch.Tensor, "__matmul__", refuse)
    with pytest.raises(UsageError, match=r"--teacher-dtype float16: cpu does not compute in float16; use float32\."):
        placement(torch.device("cpu"), Where(teacher_dtype="float16"))


@pytest.mark.parametrize("memory", [0, -1.5, float("nan"), float("inf")])
def test_an_amount_of_memory_is_a_number_above_zero(memory):
    with pytest.raises(UsageError, match="--teacher-memory must be a number of GB above 0"):
        Where(teacher_memory=memory)


def test_how_many_processes_a_machine_starts(machine, monkeypatch, tmp_path):
    """One a GPU, but one alone for a teacher larger than a GPU or one that is told to spread."""
    monkeypatch.setattr(devices, "_computes", lambda device, dtype: True)
    monkeypatch.setattr(devices, "has_bfloat16", lambda device: True)
    teacher = str(tiny.save("t5", tmp_path))
    size = 2 * sum(weight.numel() for weight in tiny.network("t5", 6).parameters())  # bfloat16

    def usual(gpus, free, *where, each=1):
        machine(gpus)
        monkeypatch.setattr("ketchup.models.placement.free_bytes", lambda device: free)
        return usual_processes(Where(*where), [teacher], each)

    assert usual(0, size) == 1
    assert usual(1, size - 1) == 1
    assert usual(3, size) == 3
    assert usual(3, size - 1) == 1
    assert usual(3, size - 1, "cpu") == 1
    assert usual(3, size, "cuda:2") == 1
    assert usual(3, size, "auto", "float32") == 1
    assert usual(3, size, "auto", "auto", "auto", 1e-9) == 1
    assert usual(8, size, each=2) == 4  # an engine that spreads a model over two
    assert usual(5, size, each=2) == 2
    assert usual(3, size, each=2) == 1
