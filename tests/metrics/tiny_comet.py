"""Writes a tiny COMET model of random weights into a folder, in COMET's own Python: `python tiny_comet.py DIR`."""

import sys
from pathlib import Path

import torch
import yaml
from comet.models import RegressionMetric
from pytorch_lightning import Trainer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import XLMRobertaConfig, XLMRobertaModel, XLMRobertaTokenizerFast

folder = Path(sys.argv[1])
words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "the", "cat", "sat", "de", "kat", "zat"]
text = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
text.pre_tokenizer = pre_tokenizers.Whitespace()
text.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
XLMRobertaTokenizerFast(tokenizer_object=text, model_max_length=64).save_pretrained(folder / "encoder")
torch.manual_seed(0)
sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
config = XLMRobertaConfig(vocab_size=len(words), max_position_embeddings=70, pad_token_id=1, **sizes)
XLMRobertaModel(config).save_pretrained(folder / "encoder")

model = RegressionMetric(encoder_model="XLM-RoBERTa", pretrained_model=str(folder / "encoder"), hidden_sizes=[8])
trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
trainer.strategy.connect(model)
trainer.save_checkpoint(folder / "checkpoints/model.ckpt", weights_only=True)
(folder / "hparams.yaml").write_text(yaml.dump({"class_identifier": "regression_metric", **model.hparams}))
