"""Parts of rollouts: no flipped bit goes unnoticed, and what an earlier version wrote can be read."""

from dataclasses import fields

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ketchup.errors import RunError
from ketchup.models.scoring import StudentValues, TeacherValues
from ketchup.rollouts.types import Rollouts
from ketchup.tasks.base import Input
from ketchup_eval.variance.rollout_store import LATER, VALUES, part_inputs, read_part, write_part

INPUTS = [Input(f"gsm8k-test-{number}", "how many?", "2") for number in range(3)]
IDS = [one.id for one in INPUTS]
SAMPLES, LENGTH = 4, 6


@pytest.fixture
def part(tmp_path):
    generator = torch.Generator().manual_seed(0)
    shape = (len(IDS) * SAMPLES, LENGTH)
    lengths = torch.randint(1, LENGTH + 1, (shape[0], 1), generator=generator)
    mask = torch.arange(LENGTH) < lengths
    values = {name: torch.randn(shape, generator=generator) for name in VALUES}
    tokens = torch.randint(0, 9, shape, generator=generator)
    rollouts = Rollouts(tuple(IDS), tokens, mask, mask, lengths[:, 0] < LENGTH, values["sampler_log_prob"])
    teacher, student = (
        kind(**{field.name: values.get(field.name, torch.zeros(shape)) for field in fields(kind)})
        for kind in (TeacherValues, StudentValues)
    )
    write_part(tmp_path / "part.parquet", INPUTS, rollouts, teacher, student)
    return tmp_path / "part.parquet"


def assert_same(block, other):
    assert (block.ids, block.ended.tolist(), block.mask.tolist()) == (
        other.ids,
        other.ended.tolist(),
        other.mask.tolist(),
    )
    assert all(np.array_equal(block.values[name], other.values[name]) for name in VALUES)


def test_a_flipped_bit_is_noticed_wherever_it_is(part):
    content = part.read_bytes()
    for place in range(0, len(content), 11):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        part.write_bytes(damaged)
        with pytest.raises(RunError, match=r"part\.parquet is damaged \(.*\); delete this file and run"):
            read_part(part, IDS)


@pytest.mark.parametrize("kept", [0, 4, 300, -64, -1])
def test_a_part_that_is_cut_is_noticed(part, kept):
    part.write_bytes(part.read_bytes()[:kept])
    for read in (lambda: read_part(part, IDS), lambda: part_inputs(part)):
        with pytest.raises(RunError, match=r"part\.parquet is damaged"):
            read()


def test_a_part_is_an_ordinary_parquet_file_and_older_ones_are_read(part):
    block = read_part(part, IDS)
    table = pq.read_table(part)
    pq.write_table(table.replace_schema_metadata(None), part)  # what versions without checksums wrote
    assert_same(read_part(part, IDS), block)
    assert part_inputs(part) == {one.input_hash for one in INPUTS}


def test_a_part_of_an_earlier_version_is_read_and_says_what_it_lacks(part):
    whole = read_part(part, IDS)
    old = pq.read_table(part).drop_columns(list(LATER)).replace_schema_metadata(None)
    pq.write_table(old, part)
    found = read_part(part, IDS)
    assert set(found.values) == set(VALUES) - set(LATER)
    assert all(np.array_equal(found.values[name], whole.values[name]) for name in found.values)
    assert set(read_part(part, IDS, {"v": "llmr", "kl": "the table"}).values) == {"q", "v", "kl"}
    said = r"part\.parquet was written before own_value was kept, which soft needs; delete .* again, or leave soft out"
    with pytest.raises(RunError, match=said):
        read_part(part, IDS, {"own_value": "soft"})


def test_what_no_engine_told_is_absent_and_only_missed_by_who_needs_it(part):
    old = pq.read_table(part).drop_columns(["sampler_log_prob"]).replace_schema_metadata(None)
    pq.write_table(old, part)
    assert "sampler_log_prob" not in read_part(part, IDS, {"sampler_log_prob": None}).values
    said = (
        r"has no log-probabilities of the engine that drew.*, which --correct-sampler needs; .* --correct-sampler out"
    )
    with pytest.raises(RunError, match=said):
        read_part(part, IDS, {"sampler_log_prob": "--correct-sampler"})


def test_numbers_are_those_of_the_part(part):
    block = read_part(part, IDS)
    numbers = block.numbers
    assert numbers.samples == SAMPLES
    assert np.array_equal(numbers.mask.view(len(IDS), SAMPLES, -1), block.mask)
    for name in set(VALUES) - {"kl", "sampler_log_prob"}:
        assert np.array_equal(getattr(numbers, name).view(len(IDS), SAMPLES, -1), block.values[name])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda table: table.drop_columns(["q"]), "in place of"),
        (lambda table: table.set_column(6, "q", pa.array(["a"] * len(table))), "in place of"),
        (lambda table: table.slice(0, 11), "lacks samples"),
        (lambda table: table.slice(0, 8), "lacks samples"),
        (lambda table: table.set_column(7, "v", pa.array([[0.0]] * 12, pa.list_(pa.float32()))), "lacks values"),
        (lambda table: table.set_column(0, "id", pa.array([None] * 12, pa.string())), "lacks values"),
        (lambda table: table.set_column(6, "q", scaled(table.column("q"), float("nan"))), "not finite"),
    ],
)
def test_a_part_of_another_shape_is_no_part(part, change, named):
    table = pq.read_table(part)
    assert table.schema.names[6:8] == ["q", "v"]
    pq.write_table(change(table).replace_schema_metadata(None), part)
    with pytest.raises(RunError, match=rf"part\.parquet is damaged \(.*{named}"):
        read_part(part, IDS)


def scaled(column, factor):
    return pa.array([[factor * value for value in row] for row in column.to_pylist()], column.type)


def test_a_folder_in_its_place_is_named(tmp_path):
    with pytest.raises(RunError, match=r"cannot be read \(Is a directory\)"):
        part_inputs(tmp_path)
