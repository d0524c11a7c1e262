"""Where a vLLM would compute, on machines that are made up; a real one is in `test_vllm_processes`."""

import json
import logging.config
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ketchup.devices import Where, placement
from ketchup.errors import UsageError
from ketchup.models.placement import load_teacher
from ketchup.rollouts.names import check_engine, row_of
from ketchup.rollouts.vllm_places import Log, Place, place_of
from tests import tiny


def built_for(device):
    platform = SimpleNamespace(is_cpu=lambda: device == "cpu")
    return SimpleNamespace(platforms=SimpleNamespace(current_platform=platform))


class OnGpu:
    """A tiny model that says it is on a GPU, which this machine need not have."""

    def __init__(self, index=0):
        self.name, self.device = "tiny", torch.device("cuda", index)
        self.network = tiny.network(tiny.WIDE, 6)


@pytest.fixture
def machine(monkeypatch):
    """Makes up a machine with so many GPUs, for one of so many processes on it."""

    def make(gpus, beside=1):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: ((index + 1) * 10**9, 10**10))
        monkeypatch.setattr(torch.distributed, "is_initialized", lambda: beside > 1)
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(beside))
        monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)

    return make


@pytest.mark.parametrize(
    ("gpus", "beside", "index", "parts", "place"),
    [
        (1, 1, 0, 1, Place((0,), 1, apart=False)),
        (4, 1, 2, 1, Place((2,), 1, apart=False)),
        (4, 1, 0, 2, Place((0, 1), 2, apart=True)),
        (4, 1, 2, 2, Place((2, 3), 2, apart=True)),
        (4, 4, 3, 1, Place((3,), 1, apart=True)),
        (4, 2, 0, 2, Place((0, 2), 2, apart=True)),
        (4, 2, 1, 2, Place((1, 3), 2, apart=True)),
    ],
)
def test_each_process_has_gpus_of_its_own(machine, gpus, beside, index, parts, place):
    machine(gpus, beside)
    assert place_of(OnGpu(index), parts, built_for("cuda")) == place


@pytest.mark.parametrize(
    ("gpus", "beside", "index", "said"),
    [(1, 1, 0, "2 GPUs for a model, and there are cuda:0;"), (4, 1, 3, "from cuda:3 on"), (3, 2, 0, "each of 2")],
)
def test_more_gpus_than_there_are_is_one_sentence(machine, gpus, beside, index, said):
    machine(gpus, beside)
    with pytest.raises(UsageError, match=said):
        place_of(OnGpu(index), 2, built_for("cuda"))


def test_vllm_takes_half_of_the_least_that_is_free(machine):
    machine(4, 2)
    options = place_of(OnGpu(1), 2, built_for("cuda")).options
    assert options["device_ids"] == [1, 3]
    assert options["gpu_memory_utilization"] == pytest.approx(0.5 * 0.2)  # of GPU 1, where 2 GB of 10 are free
    assert options["tensor_parallel_size"] == 2


def test_a_build_for_another_device_than_the_models_is_refused(machine):
    with pytest.raises(UsageError, match=r"computes on a GPU, and 'tiny-wide-0' is on cpu; use --device cuda"):
        place_of(tiny.language_model(tiny.WIDE), 1, built_for("cuda"))
    machine(1)
    with pytest.raises(UsageError, match=r"computes on the CPU, and 'tiny' is on cuda:0; use --device cpu"):
        place_of(OnGpu(), 1, built_for("cpu"))


def test_a_teacher_that_waits_on_disk_is_refused(tmp_path):
    folder = str(tiny.save(tiny.WIDE, tmp_path))
    size = 4 * sum(weight.numel() for weight in tiny.network(tiny.WIDE, 6).parameters())
    spread = load_teacher(folder, placement(torch.device("cpu"), Where(teacher_memory=0.75 * size / 1e9)))
    with pytest.raises(UsageError, match=r"which is in part in memory or on disk; use --engine transformers\."):
        place_of(spread, 1, built_for("cpu"))


@pytest.mark.parametrize(
    ("heads", "of_keys", "width", "parts", "said"),
    [
        (9, 3, 1536, 2, r"9 attention heads, 3 of keys.*vllm:tpN with N = 3"),  # those of SmolLM2-135M
        (9, 3, 1536, 3, None),
        (9, 3, 1536, 9, "N = 3"),  # 9 does not divide the wide layer
        (32, 8, 11008, 16, None),  # each head of keys twice
        (12, 8, 12, 3, "N = 2, 4"),  # 8 heads of keys cannot be parted in 3
        (8, 8, 30, 4, "N = 2"),
        (7, 7, 30, 2, r"use --engine vllm\.$"),
    ],
)
def test_heads_that_cannot_be_parted_are_refused(heads, of_keys, width, parts, said):
    config = SimpleNamespace(num_attention_heads=heads, num_key_value_heads=of_keys, intermediate_size=width)
    network = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: config), parameters=list)
    on_cpu = SimpleNamespace(name="tiny", device=torch.device("cpu"), network=network)
    if said is None:
        assert place_of(on_cpu, parts, built_for("cpu")).parts == parts
        return
    with pytest.raises(UsageError, match=said):
        place_of(on_cpu, parts, built_for("cpu"))


def test_what_a_launcher_sets_does_not_reach_vllm_and_is_put_back(monkeypatch):
    of_launcher = {
        "RANK": "3",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "4",
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_RANK": "1",
        "ROLE_WORLD_SIZE": "4",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29500",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "ACCELERATE_USE_FSDP": "true",
    }
    for name, value in of_launcher.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HF_HOME", "/somewhere")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("VLLM_CPU_OMP_THREADS_BIND", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
    before = dict(os.environ)
    with Place((), 2, apart=True).environment(Log()):
        assert not of_launcher.keys() & os.environ.keys()
        assert os.environ["HF_HOME"] == "/somewhere"
        assert os.environ["OMP_NUM_THREADS"] == "2"  # 5 threads among 2 workers
        assert os.environ["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
        assert os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "1"
        os.environ["LOCAL_WORLD_SIZE"] = "1"  # as vLLM does
        os.environ["LD_PRELOAD"] = "something.so"
    assert dict(os.environ) == before


@pytest.fixture
def no_logging(monkeypatch):
    for name in ("VLLM_LOGGING_LEVEL", "VLLM_LOGGING_STREAM", "VLLM_LOGGING_CONFIG_PATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_logging")
def test_what_failed_first_in_vllms_processes_is_the_reason():
    """Their loggers are set up as vLLM does it, and say what vLLM said of a model with small heads."""
    log = Log()
    config = json.loads(Path(log.environment["VLLM_LOGGING_CONFIG_PATH"]).read_text())
    assert log.reason(RuntimeError("Engine core failed.\nSee above.")) == "See above."
    try:
        logging.config.dictConfig(config)
        for error in (RuntimeError("Unsupported head_dim=8"), RuntimeError("Worker failed with error")):
            try:
                raise error
            except RuntimeError:
                logging.getLogger("vllm.v1.executor").exception("WorkerProc hit an exception.")
    finally:
        logger = logging.getLogger("vllm")
        for handler in list(logger.handlers):
            handler.close()
            logger.removeHandler(handler)
        logger.propagate = True
    assert log.reason(RuntimeError("Engine core failed.")) == "Unsupported head_dim=8"


@pytest.mark.usefixtures("no_logging")
@pytest.mark.parametrize(
    ("name", "value"), [("VLLM_LOGGING_LEVEL", "DEBUG"), ("VLLM_LOGGING_CONFIG_PATH", "/somewhere/logging.json")]
)
def test_who_asked_for_another_log_of_vllm_gets_it(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert Log().environment == {}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("vllm", ("vllm", 1)),
        ("vllm:tp4", ("vllm", 4)),
        ("vllm:bfloat16:tp16", ("vllm:bfloat16", 16)),
        ("ctranslate2:int8", ("ctranslate2:int8", 1)),
    ],
)
def test_an_engine_in_parts_has_their_number_behind_its_name(name, found):
    check_engine(name)
    assert row_of(name) == found


@pytest.mark.parametrize(
    "name",
    [
        "vllm:tp",
        "vllm:tp0",
        "vllm:tp1",
        "vllm:tp02",
        "vllm:tp-2",
        "vllm:tp2.0",
        "vllm:tp2:bfloat16",
        "vllm:int8:tp2",
        "vllm:tp1025",
        "vllm:tp" + "9" * 5000,
        "vllm:tp٢",
        "vllm:tpN",
        "vllm:tp2 ",
    ],
)
def test_a_number_of_parts_that_cannot_be(name):
    with pytest.raises(UsageError, match=r"it is vllm:tpN or vllm:bfloat16:tpN, N being from 2 to 1,024 GPUs\."):
        check_engine(name)


@pytest.mark.parametrize("name", ["transformers:tp2", "ctranslate2:int8:tp2", "auto:tp2"])
def test_only_vllm_spreads_a_model(name):
    with pytest.raises(UsageError, match=r"only vLLM spreads one model over several GPUs; use vllm:tpN\."):
        check_engine(name)
