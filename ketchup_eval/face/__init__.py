"""What `import ketchup` shows of this package: the commands that measure, evaluate, compare and judge, as functions.

Each makes the settings that its command makes and calls what its command calls.
"""

from ketchup_eval.face.judging import judge
from ketchup_eval.face.measuring import measure
from ketchup_eval.face.scoring import compare, evaluate

__all__ = ["compare", "evaluate", "judge", "measure"]
