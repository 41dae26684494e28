"""A tiny causal language model for tests: random, or one that recites a script."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

END = "<end>"
TINY_WINDOW = 512  # tokens
CHAT_TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def save_tiny_generator(folder: Path, seed: int = 0, chat: bool = True, script: Sequence[str] = ()) -> Path:
    """Save a two-layer Llama that reads bytes and return its folder, which is `folder`.

    Without a script it writes random letters, spaces and Hangul syllables. A script says what to write: after its first piece (one token,
    which the prompt must end with) always the second, and so on; "<0xEA>" is a single byte, "<end>" ends the text. No piece may come twice.
    """
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    bytewise = [f"<0x{number:02X}>" for number in range(256)]
    names = ["<start>", END, "<system>", "<user>", "<assistant>", *bytewise]
    letters = [] if script else [*"abcdefghijklmnopqrstuvwxyz ", *"가나다라마바사아자차카타파하"]
    letters += [piece for piece in script if piece not in names]
    tokenizer = Tokenizer(models.BPE({name: number for number, name in enumerate(names)}, [], unk_token=END, byte_fallback=True))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names[:5]])
    tokenizer.add_tokens([AddedToken(letter, special=False, normalized=False) for letter in letters])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    configuration = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<start>", "eos_token": END}
    configuration |= {"chat_template": CHAT_TEMPLATE} if chat else {}
    (folder / "tokenizer_config.json").write_text(json.dumps(configuration), encoding="utf-8")

    size = -(-tokenizer.get_vocab_size() // 4) * 4
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=size if script else 64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        initializer_range=0.2,
        max_position_embeddings=TINY_WINDOW,
        bos_token_id=0,
        eos_token_id=1,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
        if script:  # the layers add nothing, so each token alone decides what comes next
            for name, weight in model.named_parameters():
                if "layers" in name and "norm" not in name:
                    weight.zero_()
            model.model.embed_tokens.weight.copy_(torch.eye(size))
            model.lm_head.weight.zero_()
            numbers = [tokenizer.token_to_id(piece) for piece in script]
            for number, following in itertools.pairwise(numbers):
                model.lm_head.weight[following, number] = 1
        else:
            model.lm_head.weight *= 2
            model.lm_head.weight[: len(names)] = 0  # some letter is always likelier
    model.save_pretrained(folder)
    return folder
