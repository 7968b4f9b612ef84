"""Adapters of Python's PEFT on the tiny models of transformer/, with the logits they give.

Writes tuning/<model>/<kind>/ as `save_pretrained` writes it, tuning/<model>/expected.safetensors (logits of
each kind on the token ids of transformer/<model>/expected.json), and tuning/allocator.json: which singular
values PEFT's own RankAllocator keeps, step by step, for parameters and gradients that are written down.

With --ours it writes tuning/<model>/ours.safetensors instead: PEFT's logits of the adapters that Kudos wrote
into tuning/<model>/ours_<kind>/ (its test `our_adapters`, with KUDOS_WRITE_OURS naming the folder tuning/).

Everything is float32 on one CPU thread. Usage: python tuning.py [--ours]
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from peft import (
    AdaLoraConfig, IA3Config, LoraConfig, PeftModel, PrefixTuningConfig, PromptTuningConfig,
    get_peft_model,
)
from peft.tuners.adalora.layer import RankAllocator
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
from transformers.utils import logging

HERE = Path(__file__).parent
TARGETS = {
    "gpt2": (["c_attn", "attn.c_proj", "c_fc", "mlp.c_proj"], ["c_attn", "mlp.c_proj"], ["mlp.c_proj"]),
    "llama": (
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        ["k_proj", "v_proj", "down_proj"], ["down_proj"],
    ),
}


def kinds(name):
    linear, scaled, inner = TARGETS[name]
    common = {"task_type": "CAUSAL_LM"}
    flat = {"fan_in_fan_out": name == "gpt2", **common}
    low = {"lora_alpha": 6, "target_modules": linear, **flat}
    return {
        "lora": LoraConfig(r=3, **low),
        "rslora": LoraConfig(r=4, use_rslora=True, **low),
        "dora": LoraConfig(r=3, use_dora=True, **low),
        "adalora": AdaLoraConfig(init_r=4, target_r=2, total_step=10, **low),
        "ia3": IA3Config(target_modules=scaled, feedforward_modules=inner, **flat),
        "prefix": PrefixTuningConfig(num_virtual_tokens=3, **common),
        "prompt": PromptTuningConfig(num_virtual_tokens=3, **common),
    }


def base(name):
    folder = HERE / "transformer" / name
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    ids = torch.tensor(json.loads((folder / "expected.json").read_text())["token_ids"])
    return model.eval(), ids


def randomize(model, generator):
    """Every small parameter is moved far enough from its start to matter."""
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(0.25 * noise)


def logits(model, ids):
    with torch.no_grad():
        found = model(ids).logits
    # Prompt tuning returns the logits of its own positions, too.
    return found[:, -ids.shape[1]:].contiguous()


def tidy(path, name):
    """Without this machine's folders, and in one order."""
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = name
    for key in ("target_modules", "feedforward_modules"):
        if key in config:
            config[key] = sorted(config[key])
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def adapters(name):
    expected = {}
    for place, (kind, config) in enumerate(kinds(name).items()):
        model, ids = base(name)
        plain = logits(model, ids)
        torch.manual_seed(place)
        tuned = get_peft_model(model, config)
        randomize(tuned, torch.Generator().manual_seed(100 + place))
        tuned.eval()
        expected[kind] = logits(tuned, ids)
        distance = (expected[kind] - plain).abs().max().item()
        assert distance > 0.05, f"{name} {kind} changes next to nothing: {distance}"
        folder = HERE / "tuning" / name / kind
        shutil.rmtree(folder, ignore_errors=True)
        tuned.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)
        tidy(folder / "adapter_config.json", name)
        print(f"{name} {kind}: moves the logits by {distance:.3f}")
    save_file(expected, HERE / "tuning" / name / "expected.safetensors")


def ours(name):
    expected = {}
    for folder in sorted((HERE / "tuning" / name).glob("ours_*")):
        model, ids = base(name)
        plain = logits(model, ids)
        tuned = PeftModel.from_pretrained(model, folder).eval()
        kind = folder.name.removeprefix("ours_")
        expected[kind] = logits(tuned, ids)
        distance = (expected[kind] - plain).abs().max().item()
        assert distance > 0.05, f"PEFT loads nothing of {folder}: {distance}"
        print(f"{name} {kind}: PEFT moves the logits by {distance:.3f}")
    save_file(expected, HERE / "tuning" / name / "ours.safetensors")


class Target(torch.nn.Module):
    """The parameters of one AdaLoRA target, under PEFT's names."""

    def __init__(self, rank, inputs, outputs, generator):
        super().__init__()
        draw = lambda *shape: torch.nn.ParameterDict(  # noqa: E731
            {"default": torch.nn.Parameter(torch.randn(*shape, generator=generator))}
        )
        self.lora_A = draw(rank, inputs)
        self.lora_E = draw(rank, 1)
        self.lora_B = draw(outputs, rank)


def allocator():
    """Fixed parameters, new gradients each step; which singular values are not zero after each."""
    generator = torch.Generator().manual_seed(7)
    rank, inputs, outputs, steps = 6, 4, 4, 20
    model = torch.nn.ModuleDict({
        name: Target(rank, inputs, outputs, generator) for name in ("first", "second")
    })
    options = {"tinit": 3, "tfinal": 5, "deltaT": 2, "beta1": 0.85, "beta2": 0.85}
    config = AdaLoraConfig(
        init_r=rank, target_r=2, total_step=steps, target_modules=["first", "second"], **options
    )
    allocating = RankAllocator(model, config, "default")
    start = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    record = {"rank": rank, "target_rank": 2, "total_step": steps, **options, "steps": []}
    record["parameters"] = {name: value.flatten().tolist() for name, value in start.items()}
    for step in range(1, steps + 1):
        gradients = {}
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(start[name])
                parameter.grad = torch.randn(parameter.shape, generator=generator)
                gradients[name] = parameter.grad.flatten().tolist()
        budget, _ = allocating.update_and_allocate(model, step)
        kept = {
            name: (model[name].lora_E["default"] != 0).flatten().int().tolist() for name in model
        }
        record["steps"].append({"gradients": gradients, "budget": budget, "kept": kept})
    (HERE / "tuning" / "allocator.json").write_text(json.dumps(record) + "\n")
    print("allocator:", [sum(map(sum, step["kept"].values())) for step in record["steps"]])


def main():
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    for name in TARGETS:
        if "--ours" in sys.argv:
            ours(name)
        else:
            adapters(name)
    if "--ours" not in sys.argv:
        allocator()


if __name__ == "__main__":
    main()
