"""No secret is shown or kept: what hides it in texts and command lines, by examples written by hand."""

import json
import sys

import pytest

from ketchup.manifests import check_same_settings, manifest
from ketchup.redaction import redacted, redacted_command


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--base-url", "https://me:hunter22@host:80/v1"], ["--base-url", "https://***@host:80/v1"]),
        (["--base-url=https://token@host/v1"], ["--base-url=https://***@host/v1"]),
        (["--base-url", "https://me:p@ss/w?#rd@host/v1"], ["--base-url", "https://***@host/v1"]),
        (["--base-url", "me:hunter22@host:80/v1"], ["--base-url", "***@host:80/v1"]),  # a scheme was forgotten
        (["--base-url", "https://host/v1?api-version=2&key=hunter22"], None),
        (
            ["--serve-options", "--api-key hunter22 --dtype float32"],
            ["--serve-options", "--api-key *** --dtype float32"],
        ),
        (["--serve-options", "--api-key=hunter22"], ["--serve-options", "--api-key=***"]),
        (["--serve-options=--api-key 'a b' hunter22 --x"], ["--serve-options=--api-key *** *** --x"]),
        (
            ["--serve-options", "--api-key 'hunter22"],
            ["--serve-options", "--api-key ***"],
        ),  # a quote that does not close
        (["--serve-options", '--config \'{"token": "hunter22"}\''], None),
        (["--hf-token=hunter22", "run"], ["--hf-token=***", "run"]),
        (["--api-key", "hunter22", "--ssl-password", "x"], ["--api-key", "***", "--ssl-password", "***"]),
    ],
)
def test_a_command_keeps_all_but_its_secrets(words, shown):
    kept = redacted_command(words)
    assert "hunter22" not in " ".join(kept)
    assert shown is None or kept == shown


@pytest.mark.parametrize(
    "words",
    [
        ["--max-tokens", "256", "--tokenizer", "name", "--normalization", "tokens", "--max-new-tokens=5"],
        ["--base-url", "http://127.0.0.1:8000/v1", "--base-url", "http://[::1]:8000/v1", "--k", "1", "-2", "-", "--"],
        ["--serve-options", "--enable-prompt-tokens-details  --dtype 'bf 16'", "a\u00a0b", " ", "", "@scope/model"],
        ["--data", "mail@host/rows", "--name", "key", "https://host:8000/a@b"],
        [
            "--k,",
            "--a,b",
            "--(x)",
            "--",
            "---",
            "--a,=",
            "--\u2026",
            "--name",
            "--x y",
            "'--k,'",
            "\\--k,",
            "--k, --k,",
        ],
    ],
)
def test_all_else_is_kept_as_it_is(words):
    assert redacted_command(words) == words


def test_secrets_of_this_process_are_hidden_wherever_they_stand(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ketchup", "judge", "--serve-options", "--api-key from-options", "--k", "2"])
    monkeypatch.setenv("OPENAI_API_KEY", " sk-test\n")
    monkeypatch.setenv("WANDB_API_KEY", "wandb+secret/1")
    monkeypatch.setenv("SORT_KEY", "accuracy")
    text = "sk-test, from-options, wandb+secret/1 and wandb%2Bsecret%2F1 in https://a:b@host/v1 by accuracy"
    assert redacted(text) == "***, ***, *** and *** in https://***@host/v1 by accuracy"


def test_no_manifest_has_them(tmp_path, monkeypatch):
    words = ["ketchup", "judge", "--base-url", "https://me:hunter22@host/v1", "--serve-options", "--api-key sk-secret"]
    monkeypatch.setattr(sys, "argv", words)
    check_same_settings(tmp_path, {"seed": 0})
    check_same_settings(tmp_path, {"seed": 0})
    recorded = (tmp_path / "manifest.json").read_text()
    for secret in ("hunter22", "sk-secret"):
        assert secret not in recorded
        assert secret not in json.dumps(manifest({}))
    assert json.loads(recorded)["command"][2:4] == ["--base-url", "https://***@host/v1"]
