"""Small GGUF files by the reference writer, and what its reader makes of them: gguf/ is read by tests/golden_gguf.rs.

    python gguf_files.py

llama.gguf and gpt2.gguf are whole models with random weights of every simple kind; the logits are those of
transformers with the weights as the reference dequantizes them. blocks.gguf has rows of every kind of block, the K
kinds from random bytes.
"""

import json
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf.quants import dequantize, quantize
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

KIND = gguf.GGMLQuantizationType
SIMPLE = [KIND.Q8_0, KIND.Q4_0, KIND.Q4_1, KIND.Q5_0, KIND.Q5_1, KIND.F16, KIND.BF16, KIND.F32]
BLOCK_BYTES = {KIND.Q4_K: 144, KIND.Q5_K: 176, KIND.Q6_K: 210}
# Where the half-precision scales stand in a block.
SCALES = {KIND.Q4_K: (0, 2), KIND.Q5_K: (0, 2), KIND.Q6_K: (208,)}
IDS = [5, 9, 30, 31, 250, 262, 7, 7, 100]


def byte_letters():
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(rest)) for byte in range(256)]


LETTERS = byte_letters()
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *LETTERS, LETTERS[32] + "a", "th", "the", "<tool>"]
MERGES = [f"{LETTERS[32]} a", "t h", "th e"]
KINDS = [3, 3, 3] + [1] * (len(TOKENS) - 4) + [4]
VOCABULARY = len(TOKENS)
TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def with_vocabulary(writer, pre):
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(TOKENS)
    writer.add_token_types(KINDS)
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def interleaved(weight, heads):
    """Rows of each head from first halves and second halves to pairs side by side, as the converter does."""
    shape = weight.shape
    return weight.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def store(writer, place, name, weight):
    """Adds a tensor in a kind that its place chooses; returns what a reader gets."""
    weight = np.ascontiguousarray(weight.astype(np.float32))
    kind = SIMPLE[place % len(SIMPLE)]
    if weight.ndim == 1:
        writer.add_tensor(name, weight)
        return weight
    raw = quantize(weight, kind)
    writer.add_tensor(name, raw, raw_dtype=kind)
    return dequantize(raw, kind).reshape(weight.shape)


def llama(out):
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-5, rope_theta=1e5,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).eval()
    names = {
        "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    }
    writer = gguf.GGUFWriter(out / "llama.gguf", "llama")
    writer.add_block_count(2)
    writer.add_context_length(64)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(96)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_freq_base(1e5)
    writer.add_rope_dimension_count(16)
    writer.add_layer_norm_rms_eps(1e-5)
    with_vocabulary(writer, "smollm")
    writer.add_chat_template(TEMPLATE)
    with torch.no_grad():
        for place, (name, parameter) in enumerate(model.named_parameters()):
            parameter.add_(torch.randn_like(parameter) * (0.3 if parameter.dim() > 1 else 0.1))
            if name == "model.embed_tokens.weight":
                theirs = "token_embd.weight"
            elif name == "model.norm.weight":
                theirs = "output_norm.weight"
            else:
                layer, part = name.removeprefix("model.layers.").removesuffix(".weight").split(".", 1)
                theirs = f"blk.{layer}.{names[part]}.weight"
            weight = parameter.numpy()
            heads = {"attn_q": 4, "attn_k": 2}.get(theirs.split(".")[2] if theirs.startswith("blk") else "")
            if heads:
                # Quantized in the file's order of rows; whole rows move, so values are the same.
                read = store(writer, place, theirs, interleaved(weight, heads))
                half = read.shape[0] // heads // 2
                read = read.reshape(heads, half, 2, -1).swapaxes(1, 2).reshape(weight.shape)
            else:
                read = store(writer, place, theirs, weight)
            parameter.copy_(torch.from_numpy(read.copy()))
        finish(writer)
        return model(torch.tensor([IDS])).logits[0]


def gpt2(out):
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=64, n_embd=64, n_layer=1, n_head=4, n_inner=128,
        activation_function="gelu_new", tie_word_embeddings=True,
    )
    model = GPT2LMHeadModel(config).eval()
    names = {
        "ln_1": "attn_norm", "ln_2": "ffn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
        "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
    }
    whole = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm"}
    writer = gguf.GGUFWriter(out / "gpt2.gguf", "gpt2")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(128)
    writer.add_head_count(4)
    writer.add_layer_norm_eps(1e-5)
    with_vocabulary(writer, "gpt-2")
    with torch.no_grad():
        for place, (name, parameter) in enumerate(model.named_parameters()):
            parameter.add_(torch.randn_like(parameter) * (0.3 if parameter.dim() > 1 else 0.1))
            stem, kind = name.removeprefix("transformer.").rsplit(".", 1)
            if stem in whole:
                read = store(writer, place, f"{whole[stem]}.{kind}", parameter.numpy())
            else:
                layer, part = stem.removeprefix("h.").split(".", 1)
                theirs = f"blk.{layer}.{names[part]}.{kind}"
                # The model has [input, output], the file [output, input].
                read = store(writer, place, theirs, parameter.numpy().T).T
            parameter.copy_(torch.from_numpy(read.copy()))
        finish(writer)
        return model(torch.tensor([IDS])).logits[0]


def blocks(out):
    coins = np.random.default_rng(3)
    writer = gguf.GGUFWriter(out / "blocks.gguf", "llama")
    expected = {}
    for kind in SIMPLE:
        weight = coins.normal(size=(2, 64)).astype(np.float32)
        raw = quantize(weight, kind)
        writer.add_tensor(kind.name, raw, raw_dtype=kind)
        expected[kind.name] = dequantize(raw, kind).reshape(-1).tolist()
    for kind, size in BLOCK_BYTES.items():
        raw = coins.integers(0, 256, size=(2, size), dtype=np.uint8)
        for at in SCALES[kind]:
            halves = coins.normal(size=2).astype(np.float16)
            raw[:, at : at + 2] = halves.view(np.uint8).reshape(2, 2)
        writer.add_tensor(kind.name, raw, raw_dtype=kind)
        expected[kind.name] = dequantize(raw, kind).reshape(-1).tolist()
    finish(writer)
    return expected


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    torch.manual_seed(11)
    out = Path(__file__).parent / "gguf"
    out.mkdir(exist_ok=True)
    expected = {
        "ids": IDS,
        "llama": llama(out).flatten().tolist(),
        "gpt2": gpt2(out).flatten().tolist(),
        "blocks": blocks(out),
    }
    (out / "expected.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    main()
