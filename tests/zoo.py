"""A tiny random model of each kind that architectures differ in: heads, caps, windows, positions, states."""

from collections.abc import Callable
from pathlib import Path

import torch
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

PAD, EOS, UNK = 0, 1, 2
SIZE = 40
WINDOW = 16
LONG = {"max_position_embeddings": 256}
IDS = {"vocab_size": SIZE, "pad_token_id": PAD, "eos_token_id": EOS}
DECODER = {**IDS, "bos_token_id": None}
SIZES = {
    **DECODER,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    **LONG,
}
GROUPED = {**SIZES, "num_key_value_heads": 2}
HEADED = {**GROUPED, "head_dim": 8}
GPT = {**DECODER, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
T5 = {
    **{"vocab_size": SIZE, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4},
    **{"decoder_start_token_id": PAD, "relative_attention_max_distance": 20, "relative_attention_num_buckets": 8},
    "initializer_factor": 0.1,  # heads whose output is not scaled would be next to certain
}
BART = {
    **{**DECODER, "d_model": 32, "decoder_start_token_id": EOS, "forced_eos_token_id": None, **LONG},
    **{f"{stack}_layers": 2 for stack in ("encoder", "decoder")},
    **{f"{stack}_attention_heads": 4 for stack in ("encoder", "decoder")},
    **{f"{stack}_ffn_dim": 48 for stack in ("encoder", "decoder")},
}
SLIDING = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]}
ALWAYS_SLIDING = {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 0}
NEXT = {"linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}


def _own_head(network: PreTrainedModel) -> PreTrainedModel:
    """As transformers loads a checkpoint with another weight under the head's name than its configuration ties."""
    head = network.get_output_embeddings()
    head.weight = torch.nn.Parameter(torch.randn_like(head.weight) * 0.5)
    del network.all_tied_weights_keys["lm_head.weight"]
    return network


def _biased(network: PreTrainedModel) -> PreTrainedModel:
    """As checkpoints of OPUS-MT are, with another bias for each token; the pad token is never written."""
    network.final_logits_bias.copy_(torch.randn(1, SIZE))
    return network


def _composite() -> PreTrainedModel:
    """A model of texts and images that caps its logits by a field of its part for texts."""
    sizes = {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": SIZE, "global_head_dim": 8}
    text = {**HEADED, **SLIDING, **sizes, "num_kv_shared_layers": 0, "final_logit_softcapping": 5.0}
    seen = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "head_dim": 8}
    vision = hf.Gemma4VisionConfig(**seen, num_attention_heads=2, num_key_value_heads=2).to_dict()
    config = hf.Gemma4Config(
        text_config=hf.Gemma4TextConfig(**text).to_dict(),
        vision_config=vision,
        audio_config=None,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
    return hf.Gemma4ForConditionalGeneration(config)


ENCODER_DECODER: dict[str, Callable[[], PreTrainedModel]] = {
    "T5": lambda: hf.T5ForConditionalGeneration(hf.T5Config(**T5)),
    "T5 v1.1": lambda: hf.T5ForConditionalGeneration(
        hf.T5Config(**T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    ),
    "FLAN-T5": lambda: _own_head(
        hf.T5ForConditionalGeneration(hf.T5Config(**T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False))
    ),
    "mT5": lambda: _own_head(hf.MT5ForConditionalGeneration(hf.MT5Config(**T5))),
    "UMT5": lambda: hf.UMT5ForConditionalGeneration(hf.UMT5Config(**T5)),
    "LongT5": lambda: hf.LongT5ForConditionalGeneration(hf.LongT5Config(**T5, local_radius=5, global_block_size=4)),
    "Switch": lambda: hf.SwitchTransformersForConditionalGeneration(
        hf.SwitchTransformersConfig(**T5, num_experts=4, num_sparse_encoder_layers=1, num_sparse_decoder_layers=1)
    ),
    "BART": lambda: _biased(hf.BartForConditionalGeneration(hf.BartConfig(**BART))),
    "mBART": lambda: _biased(hf.MBartForConditionalGeneration(hf.MBartConfig(**BART))),
    "Pegasus": lambda: _biased(
        hf.PegasusForConditionalGeneration(hf.PegasusConfig(**{**BART, "decoder_start_token_id": PAD}))
    ),
    "Marian": lambda: _biased(hf.MarianMTModel(hf.MarianConfig(**BART))),
    "M2M-100": lambda: hf.M2M100ForConditionalGeneration(hf.M2M100Config(**BART)),
    "M2M-100 starting with pad": lambda: hf.M2M100ForConditionalGeneration(
        hf.M2M100Config(**{**BART, "decoder_start_token_id": PAD})
    ),
}
DECODER_ONLY: dict[str, Callable[[], PreTrainedModel]] = {
    "GPT-2": lambda: hf.GPT2LMHeadModel(hf.GPT2Config(**GPT)),
    "GPT": lambda: hf.OpenAIGPTLMHeadModel(hf.OpenAIGPTConfig(**GPT)),
    "GPT-NeoX": lambda: hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**SIZES)),
    "BLOOM": lambda: hf.BloomForCausalLM(hf.BloomConfig(**DECODER, hidden_size=32, n_layer=2, n_head=4)),
    "OPT": lambda: hf.OPTForCausalLM(hf.OPTConfig(**SIZES, ffn_dim=48, word_embed_proj_dim=32)),
    "Llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**GROUPED)),
    "Llama, tied": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**GROUPED, tie_word_embeddings=True)),
    "Llama, tied by its config alone": lambda: _own_head(
        hf.LlamaForCausalLM(hf.LlamaConfig(**GROUPED, tie_word_embeddings=True))
    ),
    "Phi": lambda: hf.PhiForCausalLM(hf.PhiConfig(**SIZES)),
    "Phi-3": lambda: hf.Phi3ForCausalLM(hf.Phi3Config(**GROUPED, sliding_window=WINDOW)),
    "Qwen2": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**GROUPED)),
    "Qwen2, sliding": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**GROUPED, **ALWAYS_SLIDING)),
    "Qwen3": lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**HEADED)),
    "Qwen3, sliding": lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**HEADED, **ALWAYS_SLIDING)),
    "Mistral": lambda: hf.MistralForCausalLM(hf.MistralConfig(**GROUPED, sliding_window=WINDOW)),
    "Mistral, window never reached": lambda: hf.MistralForCausalLM(hf.MistralConfig(**GROUPED, sliding_window=256)),
    "Gemma": lambda: hf.GemmaForCausalLM(hf.GemmaConfig(**HEADED)),
    "Gemma 2": lambda: hf.Gemma2ForCausalLM(hf.Gemma2Config(**HEADED, **SLIDING, final_logit_softcapping=5.0)),
    "Gemma 3": lambda: hf.Gemma3ForCausalLM(hf.Gemma3TextConfig(**HEADED, **SLIDING)),
    "Gemma 4": _composite,
    "GPT-OSS": lambda: hf.GptOssForCausalLM(
        hf.GptOssConfig(**HEADED, **SLIDING, num_local_experts=4, num_experts_per_tok=2)
    ),
    "OLMo 3": lambda: hf.Olmo3ForCausalLM(hf.Olmo3Config(**GROUPED, **SLIDING)),
    "Cohere 2": lambda: hf.Cohere2ForCausalLM(hf.Cohere2Config(**GROUPED, **SLIDING, logit_scale=0.25)),
    "Llama 4": lambda: hf.Llama4ForCausalLM(
        hf.Llama4TextConfig(
            **{**HEADED, "num_local_experts": 2, "intermediate_size_mlp": 48, "attention_chunk_size": WINDOW},
            layer_types=["chunked_attention", "full_attention"],
        )
    ),
    "Granite": lambda: hf.GraniteForCausalLM(hf.GraniteConfig(**GROUPED, logits_scaling=0.5)),
    "LFM2": lambda: hf.Lfm2ForCausalLM(hf.Lfm2Config(**GROUPED, layer_types=["conv", "full_attention"])),
    "Qwen3-Next": lambda: hf.Qwen3NextForCausalLM(
        hf.Qwen3NextConfig(**HEADED, **NEXT, **EXPERTS, layer_types=["linear_attention", "full_attention"])
    ),
    "Mamba": lambda: hf.MambaForCausalLM(hf.MambaConfig(**DECODER, hidden_size=32, num_hidden_layers=2, state_size=4)),
    "RecurrentGemma": lambda: hf.RecurrentGemmaForCausalLM(
        hf.RecurrentGemmaConfig(
            **{**HEADED, "bos_token_id": 3}, attention_window_size=WINDOW, logits_soft_cap=5.0, lru_width=32
        )
    ),
    "RWKV": lambda: hf.RwkvForCausalLM(
        hf.RwkvConfig(**{**DECODER, "bos_token_id": 3}, hidden_size=32, num_hidden_layers=2, attention_hidden_size=32)
    ),
    "BART's decoder": lambda: hf.BartForCausalLM(hf.BartConfig(**BART, is_decoder=True, is_encoder_decoder=False)),
}
ZOO = {**ENCODER_DECODER, **DECODER_ONLY}


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a word."""
    words = ["<pad>", "</s>", "<unk>", *(f"w{number}" for number in range(SIZE - 3))]
    backend = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def save(name: str, folder: Path, seed: int = 0) -> Path:
    """The model as a `save_pretrained` folder, its weights so far apart that mistakes show."""
    torch.manual_seed(seed)
    network = ZOO[name]()
    seen = set()
    with torch.no_grad():
        for weight in network.parameters():
            if weight.data_ptr() not in seen:  # tied ones once
                seen.add(weight.data_ptr())
                weight.add_(torch.randn_like(weight) * 0.2)
    network.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
