"""Numbers of tiny random GPT-2 and Llama models, from transformers and torch.

Writes transformer/<name>/: config.json and model.safetensors as `save_pretrained` writes them,
expected.json (token ids, masks, losses, the trajectory) and expected.safetensors (logits, every
gradient, every parameter after ten optimizer steps). README.md in this folder lists the keys.

Everything is float32 on one CPU thread. Each model is also run in float64, and the distance
between the two is written down (`float32_noise`): what no float32 implementation can be
asked to beat. Usage: python transformer.py [FOLDER]
"""

import copy
import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

VOCABULARY = 61
SEQUENCES, TOKENS = 3, 12
PROMPT_TOKENS = 5
LEFT_PADDED, RIGHT_PADDED = (0, 4), (1, 3)  # (row, number of padding tokens)
PADDING_ID = 0
STEPS = 10
OPTIMIZER = {"lr": 1e-3, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1, "max_norm": 1.0}
MARKS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None}


def gpt2():
    return GPT2LMHeadModel(GPT2Config(
        vocab_size=VOCABULARY, n_positions=32, n_embd=24, n_layer=2, n_head=3,
        activation_function="gelu_new", resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **MARKS,
    ))


def llama():
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=VOCABULARY, max_position_embeddings=32, hidden_size=32, intermediate_size=56,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True, **MARKS,
    ))


def llama_untied():
    """Own head, biases everywhere, heads wider than width / heads, a larger rotary base."""
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=VOCABULARY, max_position_embeddings=32, hidden_size=24, intermediate_size=40,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4, head_dim=8,
        rms_norm_eps=1e-6, rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
        attention_bias=True, mlp_bias=True,
        tie_word_embeddings=False, **MARKS,
    ))


def fill(model, generator):
    """Random values of a sensible scale everywhere, so that no parameter is trivially 0 or 1."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm = "ln_" in name or "norm" in name
            if is_norm and name.endswith("weight"):
                parameter.copy_(1 + 0.1 * noise)
            elif name.endswith("bias"):
                parameter.copy_(0.1 * noise)
            elif any(part in name for part in ("wte", "wpe", "embed_tokens", "lm_head")):
                parameter.copy_(0.3 * noise)
            else:
                parameter.copy_(0.2 * noise)


def next_token_loss(logits, labels):
    """Mean over the labels that are not -100, in nats; the label of position t is token t + 1."""
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)


def padding(ids):
    """Row 0 padded on the left, row 1 on the right, row 2 whole; positions count real tokens."""
    padded, mask = torch.full_like(ids, PADDING_ID), torch.ones_like(ids)
    row, n = LEFT_PADDED
    mask[row, :n], padded[row, n:] = 0, ids[row, : TOKENS - n]
    row, n = RIGHT_PADDED
    mask[row, TOKENS - n :], padded[row, : TOKENS - n] = 0, ids[row, : TOKENS - n]
    padded[2] = ids[2]
    return padded, mask, (mask.cumsum(1) - 1).clamp(min=0)


def padded_case(model, ids):
    """Loss over neighbors that are both real, and logits that are 0 at padding."""
    padded, mask, positions = padding(ids)
    with torch.no_grad():
        logits = model(ids).logits
        found = model(padded, attention_mask=mask, position_ids=positions).logits
    real = mask.bool()
    for row, n in (LEFT_PADDED, RIGHT_PADDED, (2, 0)):  # padding changes nothing
        gap = (found[row][real[row]] - logits[row, : TOKENS - n]).abs().max().item()
        assert gap < 1e-5, f"row {row} differs by {gap} from the same tokens without padding"
    labels = padded.masked_fill(~real, -100)
    record = {"token_ids": padded.tolist(), "attention_mask": mask.tolist(),
              "position_ids": positions.tolist(), "loss": next_token_loss(found, labels).item()}
    return record, found.masked_fill(~real.unsqueeze(-1), 0.0)


def trajectory(model, ids):
    """Ten AdamW steps on one batch. Returns loss and gradient norm (before clipping) of each."""
    parameters = list(model.parameters())
    kept = {key: OPTIMIZER[key] for key in ("lr", "eps")} | {"betas": tuple(OPTIMIZER["betas"])}
    decay = OPTIMIZER["weight_decay"]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, foreach=False, **kept)
    losses, norms = [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = next_token_loss(model(ids).logits, ids)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, OPTIMIZER["max_norm"])
        optimizer.step()
        losses.append(loss.item())
        norms.append(norm.item())
    return losses, norms


def observe(model, ids):
    """All numbers of one model, which is left ten steps further."""
    logits = model(ids).logits
    loss = next_token_loss(logits, ids)
    assert abs(loss.item() - model(ids, labels=ids).loss.item()) < 1e-6
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    completion = ids.clone()
    completion[:, :PROMPT_TOKENS] = -100
    completion_loss = next_token_loss(logits, completion).item()
    model.zero_grad()
    losses, norms = trajectory(model, ids)
    tensors = {"logits": logits.detach()}
    tensors |= {f"grad.{name}": gradient for name, gradient in gradients.items()}
    tensors |= {f"after.{name}": p.detach().clone() for name, p in model.named_parameters()}
    record = {
        "token_ids": ids.tolist(),
        "loss": loss.item(),
        "completion": {"prompt_tokens": PROMPT_TOKENS, "labels": completion.tolist(),
                       "loss": completion_loss},
        "adamw": OPTIMIZER | {"steps": STEPS, "decayed": "tensors of two dimensions or more",
                              "losses": losses, "grad_norms": norms},
    }
    return record, tensors


def zero_gradient_slices(model):
    """Where the true gradient is 0: the key bias of attention with learned positions adds one
    number to all scores of a query, which softmax ignores. AdamW magnifies rounding noise there."""
    if not isinstance(model, GPT2LMHeadModel):
        return {}
    width = model.config.n_embd
    return {name: [width, 2 * width] for name, _ in model.named_parameters()
            if name.endswith("attn.c_attn.bias")}


def float32_noise(single, double, zero_slices):
    """Largest distance between the float32 and the float64 run, outside the zero slices."""
    def gap(prefix, scale_by_largest):
        worst = (0.0, "")
        for key, wide in double.items():
            if not key.startswith(prefix):
                continue
            distance = (single[key].double() - wide).abs()
            name = key.removeprefix(prefix)
            if name in zero_slices:
                distance[slice(*zero_slices[name])] = 0
            scale = wide.abs().max().item() if scale_by_largest else 1.0
            worst = max(worst, (distance.max().item() / scale, key))
        return {"largest": worst[0], "tensor": worst[1]}
    return {"logits": gap("logits", False), "gradient_over_largest_of_tensor": gap("grad.", True),
            "after": gap("after.", False)}


def write(folder, build, seed):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = build()
    fill(model, generator)
    model.train()
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    ids = torch.randint(3, VOCABULARY, (SEQUENCES, TOKENS), generator=generator)
    slices = zero_gradient_slices(model)
    _, double = observe(copy.deepcopy(model).double(), ids)
    padded, padded_logits = padded_case(model, ids)
    record, tensors = observe(model, ids)
    record["padded"], tensors["padded.logits"] = padded, padded_logits
    for key, tensor in tensors.items():
        if key.startswith("grad."):
            assert tensor.abs().max() > 1e-4, f"{key} is trivially zero"
    record["zero_gradient_slices"] = slices
    record["float32_noise"] = float32_noise(tensors, double, slices)
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in record.items())
    (folder / "expected.json").write_text("{\n" + lines + "\n}\n")
    save_file({k: t.contiguous() for k, t in tensors.items()}, folder / "expected.safetensors")
    losses, norms = record["adamw"]["losses"], record["adamw"]["grad_norms"]
    print(folder.name, f"loss {losses[0]:.4f}, at the tenth step {losses[-1]:.4f};",
          f"gradient norms {min(norms):.3f} to {max(norms):.3f}; noise {record['float32_noise']}")


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "transformer"
    for seed, build in enumerate((gpt2, llama, llama_untied), start=1):
        write(root / build.__name__, build, seed)


if __name__ == "__main__":
    main()
