"""Runs in COMET's own environment, by `python comet_answers.py MODEL`: lines of rows in, lines of scores out.

It imports nothing of this toolkit. What libraries print goes to stderr.
"""

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path


def main() -> None:
    """Says its version, or what is wrong, and then answers until there are no more lines."""
    out, sys.stdout = sys.stdout, sys.stderr
    here = Path(__file__).parent
    sys.path = [folder for folder in sys.path if Path(folder) != here]  # it has a module called comet too
    try:
        from comet import download_model, load_from_checkpoint  # noqa: PLC0415

        folder, offline = Path(sys.argv[1]), os.environ.get("HF_HUB_OFFLINE") == "1"
        checkpoint = folder / "checkpoints" / "model.ckpt" if folder.is_dir() else download_model(sys.argv[1])
        model = load_from_checkpoint(str(checkpoint), local_files_only=offline)
    except ImportError:
        print(json.dumps({"error": "unbabel-comet is missing there; run its pip install unbabel-comet"}), file=out)
        return
    except Exception as error:  # of hub, zip, torch or the package
        print(json.dumps({"error": f"{sys.argv[1]} cannot be loaded ({error})"}), file=out)
        return
    print(json.dumps({"version": version("unbabel-comet")}), file=out, flush=True)
    import torch  # noqa: PLC0415

    for line in sys.stdin:
        found = model.predict(json.loads(line), batch_size=16, gpus=int(torch.cuda.is_available()), progress_bar=False)
        print(json.dumps({"scores": [float(score) for score in found.scores]}), file=out, flush=True)


if __name__ == "__main__":
    main()
