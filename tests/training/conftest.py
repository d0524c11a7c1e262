"""What runs of these tests begin from."""

import pytest

from tests import tiny
from tests.commands import write_data


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """A folder with data, a teacher and a student."""
    folder = tmp_path_factory.mktemp("inputs")
    write_data(folder / "data", train=70, validation=5)
    tiny.save("t5", folder / "teacher", seed=1)
    tiny.save("t5", folder / "student", seed=2)
    return folder
