"""Makes a model directory with random weights (Llama architecture) and a tokenizer, without network.

Run by the Python of the real vLLM: needs its torch, transformers and tokenizers.
"""

from __future__ import annotations

import argparse
import sysconfig
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CHAT_TEMPLATE = (
    "{% for message in messages %}<s>{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def tokenizer(vocabulary: int, positions: int) -> PreTrainedTokenizerFast:
    """Byte pairs learnt from the sources of Python's own library: the text that every machine has."""
    sources = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[:150]
    trained = Tokenizer(models.BPE(unk_token=None))
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained.train_from_iterator([source.read_text(errors="ignore") for source in sources], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=trained, bos_token="<s>", eos_token="</s>", pad_token="<pad>", model_max_length=positions
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    for name in ("hidden", "layers", "vocabulary", "intermediate", "heads", "key-value-heads", "positions"):
        parser.add_argument(f"--{name}", type=int, required=True)
    asked = parser.parse_args()
    tokenizer(asked.vocabulary, asked.positions).save_pretrained(asked.directory)
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=asked.vocabulary,
            hidden_size=asked.hidden,
            intermediate_size=asked.intermediate,
            num_hidden_layers=asked.layers,
            num_attention_heads=asked.heads,
            num_key_value_heads=asked.key_value_heads,
            head_dim=asked.hidden // asked.heads,
            max_position_embeddings=asked.positions,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=2,
            tie_word_embeddings=False,
            torch_dtype="bfloat16",
        )
    )
    model.to(torch.bfloat16).save_pretrained(asked.directory, safe_serialization=True)
    print(f"{asked.directory}: {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters")


if __name__ == "__main__":
    main()
