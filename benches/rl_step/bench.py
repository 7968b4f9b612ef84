"""A step of reinforcement learning, ours beside TRL's and a loop by hand: generation, reward, update, by GRPO on the same GPT-2.

    python bench.py TRAINER POLICY OUT [SIZE] [TURNS] [BETA]

TRAINER is the program `trainer`, POLICY a Hugging Face folder whose tokenizer is taken (`trainer export --output POLICY`), OUT a
folder that does not exist yet. The model is a GPT-2 with random weights and no dropout: SIZE `tiny` has 4 layers of width 128, `small` 6 of
width 512 and 8,192 tokens. A step takes 8 prompts of about 32 tokens with 8 completions each (`small`: 4), of at most 64 tokens (a random model hardly ever ends one before),
rewards them by a regular expression, and makes one update from micro-batches of 32: token mean, a divergence from the model at the start (k3, 0.04). All have one
thread, float32 and TRL's defaults otherwise; the loop by hand is by_hand.py. BETA 0 leaves the divergence and the pass of the reference out.

Per step: seconds of CPU time (user and system), which other work on the machine hardly changes, and of wall time. Ours is what
a run of many steps takes more than one of few, the others' the time between the ends of the same two steps. The sides take turns; what is printed is
the better turn of each, and ratios. The expression is one that random texts hardly match: advantages are 0, which saves no side any work.
"""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

GROUP, LENGTH, MICRO_BATCH = 8, 64, 32
FEW = 2
# Layers, width, heads and tokens at least; prompts of a step; steps of the longer run.
SIZES = {"tiny": ((4, 128, 4, 0), 8, 12), "small": ((6, 512, 8, 8192), 4, 6)}
PATTERN = "[^e]*"
RECIPE = """stage = "reinforce"
model = "{model}"
steps = {steps}
[data]
dataset = "{data}"
[batch]
prompts = {prompts}
num_generations = {group}
micro_batch_size = {micro_batch}
[optimizer]
learning_rate = 1e-4
[sampling]
max_completion_length = {length}
[objective]
algorithm = "grpo"
compat = "trl"
kl_placement = "{placement}"
kl_coefficient = {{ fixed = {beta} }}
[[reward]]
kind = "format"
pattern = "{pattern}"
[watch]
eval_items = 1
save_every = 0
"""


def environment():
    """One thread for whatever asks."""
    one = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "TOKENIZERS_NUM_THREADS")}
    return os.environ | one | {"TOKENIZERS_PARALLELISM": "false", "MIMALLOC_PURGE_DELAY": "-1", "CUDA_VISIBLE_DEVICES": ""}


def prepare(policy, out, size):
    """The model's folder and the prompts."""
    import torch
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    torch.manual_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(policy)
    end = tokenizer.eos_token_id
    layers, width, heads, least = SIZES[size][0]
    config = GPT2Config(vocab_size=max(least, len(tokenizer)), n_positions=256, n_embd=width, n_layer=layers, n_head=heads, bos_token_id=end,
                        eos_token_id=end, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    GPT2LMHeadModel(config).save_pretrained(out / "model")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(policy / name, out / "model")
    rows = [json.dumps({"prompt": f"Number {i} of a list of many things, of which some are red and some are not, and this one is what we talk about"}) for i in range(100, 356)]
    (out / "prompts.jsonl").write_text("\n".join(rows) + "\n")


def spent(command, work):
    """CPU and wall seconds of a program, start and end included."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=work, env=environment(), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.perf_counter() - start


def tokens_a_step(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return rows[-1]["num_tokens"] / len(rows)


def ours(trainer, out, size, beta, turn):
    found, (_, prompts, many_steps) = {}, SIZES[size]
    for steps in (FEW, many_steps):
        recipe, run = out / f"recipe-{steps}.toml", out / f"ours-{turn}-{steps}"
        recipe.write_text(RECIPE.format(model=out / "model", data=out / "prompts.jsonl", steps=steps, prompts=prompts, group=GROUP,
                                        micro_batch=MICRO_BATCH, length=LENGTH, pattern=PATTERN, beta=beta,
                                        placement="loss_k3" if beta > 0 else "none"))
        command = [trainer, "reinforce", "--config", recipe, "--device", "flex", "--output-dir", run]
        found[steps] = spent(command, out)
    cpu, wall = ((many - few) / (many_steps - FEW) for few, many in zip(found[FEW], found[many_steps]))
    return {"cpu": cpu, "wall": wall, "tokens": tokens_a_step(run)}


def theirs(kind, out, size, beta):
    command = [sys.executable, __file__, kind, out, size, str(beta)]
    done = subprocess.run(command, env=environment(), check=True, capture_output=True, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def reward(completions, **_):
    whole = re.compile(PATTERN)
    return [float(whole.fullmatch(text) is not None) for text in completions]


def per_step(marks, size):
    """Of (CPU, wall) at the end of each step."""
    steps = SIZES[size][2]
    return [(end - start) / (steps - FEW) for start, end in zip(marks[FEW - 1], marks[steps - 1])]


def trl(out, size, beta):
    """TRL's side, in a process of its own."""
    import torch
    from datasets import load_dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    torch.set_num_threads(1)
    _, prompts, steps = SIZES[size]

    class Clock(TrainerCallback):
        marks = []

        def on_step_end(self, *_, **__):
            self.marks.append((time.process_time(), time.perf_counter()))

    data = load_dataset("json", data_files=str(out / "prompts.jsonl"), cache_dir=str(out / "cache"))["train"]
    tokenizer = AutoTokenizer.from_pretrained(out / "model", padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    config = GRPOConfig(
        output_dir=str(out / "peer"), use_cpu=True, bf16=False, max_steps=steps, per_device_train_batch_size=MICRO_BATCH,
        gradient_accumulation_steps=prompts * GROUP // MICRO_BATCH, num_generations=GROUP, max_completion_length=LENGTH,
        learning_rate=1e-4, beta=beta, report_to="none", save_strategy="no", logging_steps=1, disable_tqdm=True, gradient_checkpointing=False,
        seed=1, dataloader_num_workers=0)
    trainer = GRPOTrainer(model=str(out / "model"), reward_funcs=reward, args=config, train_dataset=data, processing_class=tokenizer,
                          callbacks=[Clock()])
    trainer.train()
    cpu, wall = per_step(Clock.marks, size)
    rows = [row for row in trainer.state.log_history if "completions/mean_length" in row]
    lengths = [row["completions/mean_length"] for row in rows]
    return {"cpu": cpu, "wall": wall, "tokens": prompts * GROUP * sum(lengths) / len(lengths)}


def hand(out, size, beta):
    """The loop by hand, in a process of its own."""
    import torch
    from by_hand import Run
    from transformers import AutoTokenizer

    torch.set_num_threads(1)
    torch.manual_seed(1)
    _, prompts, steps = SIZES[size]
    tokenizer = AutoTokenizer.from_pretrained(out / "model")
    texts = [json.loads(line)["prompt"] for line in (out / "prompts.jsonl").read_text().splitlines()]
    run, marks, tokens = Run(out / "model", (GROUP, LENGTH, MICRO_BATCH, beta), reward), [], 0
    for step in range(steps):
        ids = [tokenizer(text)["input_ids"] for text in texts[step * prompts:(step + 1) * prompts]]
        shortest = min(map(len, ids))
        tokens += run.step(torch.tensor([row[-shortest:] for row in ids]), tokenizer)
        marks.append((time.process_time(), time.perf_counter()))
    cpu, wall = per_step(marks, size)
    return {"cpu": cpu, "wall": wall, "tokens": tokens / steps}


def main():
    trainer, policy, out = (Path(argument).resolve() for argument in sys.argv[1:4])
    size = sys.argv[4] if len(sys.argv) > 4 else "tiny"
    turns = int(sys.argv[5]) if len(sys.argv) > 5 else 3
    beta = float(sys.argv[6]) if len(sys.argv) > 6 else 0.04
    out.mkdir()
    prepare(policy, out, size)
    sides = {"ours": lambda turn: ours(trainer, out, size, beta, turn)}
    sides |= {kind: lambda _, kind=kind: theirs(kind, out, size, beta) for kind in PEERS}
    found = {side: [] for side in sides}
    for turn in range(turns):
        for side, run in sides.items():
            found[side].append(run(turn))
            print(side, json.dumps(found[side][-1]), flush=True)
    for kind in ("cpu", "wall"):
        best = {side: min(row[kind] for row in rows) for side, rows in found.items()}
        ratios = ", ".join(f"{best[side]:.3f} {side} (ratio {best['ours'] / best[side]:.2f})" for side in PEERS)
        print(f"{kind} seconds a step: {best['ours']:.3f} ours, {ratios}")


PEERS = {"trl": trl, "hand": hand}

if __name__ == "__main__":
    if sys.argv[1] in PEERS:
        print(json.dumps(PEERS[sys.argv[1]](Path(sys.argv[2]), sys.argv[3], float(sys.argv[4]))))
    else:
        main()
