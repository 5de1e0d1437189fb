"""Child process: turn a quantized GGUF file of SmolLM2 into a 16-bit model folder.

    python -m serving.models.convert_gguf SOURCE.gguf FOLDER

The weights are unpacked by transformers. The tokenizer is built here from the file's own tables,
because the general conversion takes the wrong end token and doesn't split digits as SmolLM2 does.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    GgufConfig,
    PreTrainedTokenizerFast,
)

_CONTROL_TOKEN = 3
"""``tokenizer.ggml.token_type`` of tokens that only a program may write."""


def convert(source: Path, folder: Path) -> None:
    """Write weights (bfloat16), configuration and tokenizer of ``source`` into ``folder``."""
    fields = GGUFReader(source).fields
    tokenizer = build_tokenizer(fields)
    model = AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def build_tokenizer(fields: dict[str, Any]) -> PreTrainedTokenizerFast:
    """Return SmolLM2's tokenizer from the tables of its GGUF file.

    Raises:
        ValueError: the file was made for another kind of tokenizer.
    """

    def table(name: str) -> Any:
        return fields[f"tokenizer.{name}"].contents()

    kind = (table("ggml.model"), table("ggml.pre"))
    if kind != ("gpt2", "smollm"):
        raise ValueError(f"the tokenizer of this GGUF file is {kind}, not ('gpt2', 'smollm')")
    tokens: list[str] = table("ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in table("ggml.merges")]
    control = [
        token
        for token, type_ in zip(tokens, table("ggml.token_type"), strict=True)
        if type_ == _CONTROL_TOKEN
    ]
    backend = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, normalized=False) for token in control])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=tokens[table("ggml.bos_token_id")],
        eos_token=tokens[table("ggml.eos_token_id")],
        unk_token=tokens[table("ggml.unknown_token_id")],
        pad_token=tokens[table("ggml.padding_token_id")],
        chat_template=table("chat_template"),
        model_max_length=int(fields["llama.context_length"].contents()),
        clean_up_tokenization_spaces=False,
    )


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
