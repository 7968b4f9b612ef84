"""A step of reinforcement learning, ours beside TRL's: generation, reward, update, by GRPO on the same tiny GPT-2.

    python bench.py TRAINER POLICY OUT [TURNS]

TRAINER is the program `trainer`, POLICY a Hugging Face folder whose tokenizer is taken (`trainer export --output POLICY`), OUT a
folder that does not exist yet. The model is a GPT-2 of 4 layers and width 128 with random weights and no dropout. A step takes 8
prompts with 8 completions each, of at most 64 tokens (a random model hardly ever ends one before), rewards them by a regular expression, and
makes one update from micro-batches of 16: token mean, no divergence. Both sides have one thread, float32 and TRL's defaults otherwise.

Per step: seconds of CPU time (user and system), which other work on the machine hardly changes, and of wall time. Ours is what
a run of 12 steps takes more than one of 2, TRL's the time between the ends of its steps 2 and 12. The sides take turns; what is printed is the
better turn of each, and ratios ours / TRL's. The expression is one that random texts hardly match: advantages are 0, which saves neither side any work.
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

FEW, MANY = 2, 12
PROMPTS, GROUP, LENGTH, MICRO_BATCH = 8, 8, 64, 16
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


def prepare(policy, out):
    """The model's folder and the prompts."""
    import torch
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    torch.manual_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(policy)
    end = tokenizer.eos_token_id
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=256, n_embd=128, n_layer=4, n_head=4, bos_token_id=end,
                        eos_token_id=end, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    GPT2LMHeadModel(config).save_pretrained(out / "model")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(policy / name, out / "model")
    rows = [json.dumps({"prompt": f"Number {i} of a list of many things, of which some are red and some are not"}) for i in range(256)]
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


def ours(trainer, out, turn):
    found = {}
    for steps in (FEW, MANY):
        recipe, run = out / f"recipe-{steps}.toml", out / f"ours-{turn}-{steps}"
        recipe.write_text(RECIPE.format(model=out / "model", data=out / "prompts.jsonl", steps=steps, prompts=PROMPTS, group=GROUP,
                                        micro_batch=MICRO_BATCH, length=LENGTH, pattern=PATTERN))
        command = [trainer, "reinforce", "--config", recipe, "--device", "flex", "--output-dir", run]
        found[steps] = spent(command, out)
    cpu, wall = ((many - few) / (MANY - FEW) for few, many in zip(found[FEW], found[MANY]))
    return {"cpu": cpu, "wall": wall, "tokens": tokens_a_step(run)}


def theirs(out):
    command = [sys.executable, __file__, "--peer", out]
    done = subprocess.run(command, env=environment(), check=True, capture_output=True, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def peer(out):
    """TRL's side, in a process of its own."""
    import torch
    from datasets import load_dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    torch.set_num_threads(1)
    whole = re.compile(PATTERN)

    def reward(completions, **_):
        return [float(whole.fullmatch(text) is not None) for text in completions]

    class Clock(TrainerCallback):
        marks = []

        def on_step_end(self, *_, **__):
            self.marks.append((time.process_time(), time.perf_counter()))

    data = load_dataset("json", data_files=str(out / "prompts.jsonl"), cache_dir=str(out / "cache"))["train"]
    tokenizer = AutoTokenizer.from_pretrained(out / "model", padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    config = GRPOConfig(
        output_dir=str(out / "peer"), use_cpu=True, bf16=False, max_steps=MANY, per_device_train_batch_size=MICRO_BATCH,
        gradient_accumulation_steps=PROMPTS * GROUP // MICRO_BATCH, num_generations=GROUP, max_completion_length=LENGTH,
        learning_rate=1e-4, report_to="none", save_strategy="no", logging_steps=1, disable_tqdm=True, gradient_checkpointing=False,
        seed=1, dataloader_num_workers=0)
    trainer = GRPOTrainer(model=str(out / "model"), reward_funcs=reward, args=config, train_dataset=data, processing_class=tokenizer,
                          callbacks=[Clock()])
    trainer.train()
    first, last = Clock.marks[FEW - 1], Clock.marks[MANY - 1]
    cpu, wall = ((end - start) / (MANY - FEW) for start, end in zip(first, last))
    rows = [row for row in trainer.state.log_history if "completions/mean_length" in row]
    lengths = [row["completions/mean_length"] for row in rows]
    print(json.dumps({"cpu": cpu, "wall": wall, "tokens": PROMPTS * GROUP * sum(lengths) / len(lengths)}))


def main():
    trainer, policy, out = (Path(argument).resolve() for argument in sys.argv[1:4])
    turns = int(sys.argv[4]) if len(sys.argv) > 4 else 3
    out.mkdir()
    prepare(policy, out)
    found = {"ours": [], "trl": []}
    for turn in range(turns):
        for side, run in (("ours", lambda: ours(trainer, out, turn)), ("trl", lambda: theirs(out))):
            found[side].append(run())
            print(side, json.dumps(found[side][-1]), flush=True)
    for kind in ("cpu", "wall"):
        best = {side: min(rows, key=lambda row: row[kind])[kind] for side, rows in found.items()}
        print(f"{kind} seconds a step: {best['ours']:.3f} ours, {best['trl']:.3f} TRL's, ratio {best['ours'] / best['trl']:.2f}")


if __name__ == "__main__":
    if sys.argv[1] == "--peer":
        peer(Path(sys.argv[2]))
    else:
        main()
