"""A tiny random Qwen2 as a Hugging Face folder and as a GGUF file, and its logits: qwen2/ is read by tests/golden_qwen2.rs.

    python qwen2.py

The family is Llama's with biases at queries, keys and values alone. The weights are a torch seed's; nothing is quantized, so that
both files hold the same numbers.
"""

import json
from pathlib import Path

import gguf
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from gguf_files import TEMPLATE, VOCABULARY, finish, with_vocabulary

IDS = [5, 9, 30, 31, 250, 262, 7, 7, 100]
NAMES = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}


def stored_name(name):
    if name == "model.embed_tokens.weight":
        return "token_embd.weight"
    if name == "model.norm.weight":
        return "output_norm.weight"
    layer, part = name.removeprefix("model.layers.").split(".", 1)
    stem, kind = part.rsplit(".", 1)
    return f"blk.{layer}.{NAMES[stem]}.{kind}"


def write_gguf(model, path):
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_block_count(2)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(48)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    with_vocabulary(writer, "qwen2")
    writer.add_chat_template(TEMPLATE)
    for name, parameter in model.named_parameters():
        writer.add_tensor(stored_name(name), parameter.detach().numpy())
    finish(writer)


def main():
    torch.manual_seed(5)
    out = Path(__file__).parent / "qwen2"
    config = Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-6, rope_theta=1e6, tie_word_embeddings=True,
    )
    model = Qwen2ForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * (0.3 if parameter.dim() > 1 else 0.1))
        logits = model(torch.tensor([IDS])).logits[0]
    model.save_pretrained(out)
    (out / "generation_config.json").unlink(missing_ok=True)
    write_gguf(model, out / "model.gguf")
    (out / "expected.json").write_text(json.dumps({"ids": IDS, "logits": logits.flatten().tolist()}) + "\n")


if __name__ == "__main__":
    main()
