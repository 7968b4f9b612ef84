"""Ways of tuning on one task: trained parameters, memory, time and held-out score, seed by seed.

Each run is `trainer reinforce` with recipes/summary.toml, 8 prompts a step, and another `[tuning]` table and learning rate. Held out is what
the recipe holds out, completions drawn as in training; memory is the peak that the system reports of the process.

Usage, from the project's root:
  cargo build -p trainer
  RAYON_NUM_THREADS=1 python3 benches/tuning/table.py target/debug/trainer --seeds 1 2 3 --steps 20 --output runs/tuning
Runs that are there already are not run again; every row is printed when its seeds are through.
"""

import argparse
import json
import os
import re
import subprocess
from pathlib import Path

# The table, and the learning rate: small parameters want about ten times that of whole models.
METHODS = {
    "full": ("", None),
    "LoRA, rank 8": ('method = "lora"\nrank = 8\nalpha = 16.0', 3e-3),
    "the same on int8": ('method = "lora"\nrank = 8\nalpha = 16.0\nbase = "int8"', 3e-3),
    "the same on int4": ('method = "lora"\nrank = 8\nalpha = 16.0\nbase = "int4"', 3e-3),
    "rsLoRA, rank 8": ('method = "lora"\nrank = 8\nalpha = 16.0\nuse_rslora = true', 1e-3),
    "DoRA, rank 8": ('method = "lora"\nrank = 8\nalpha = 16.0\nuse_dora = true', 3e-3),
    "AdaLoRA, 12 to 8": ('method = "adalora"\ninit_rank = 12\ntarget_rank = 8', 3e-3),
    "AdaLoRA at three times the rate": ('method = "adalora"\ninit_rank = 12\ntarget_rank = 8', 1e-2),
    "(IA)3": ('method = "ia3"', 1e-2),
    "bottleneck, width 16": ('method = "bottleneck"\nwidth = 16', 3e-3),
    "prefix, 16": ('method = "prefix"\nnum_virtual_tokens = 16', 1e-2),
    "prompt, 16": ('method = "prompt"\nnum_virtual_tokens = 16', 1e-2),
}


def recipe(table, rate):
    text = Path("recipes/summary.toml").read_text().replace("prompts = 16", "prompts = 8")
    if rate is not None:
        text = re.sub(r"(?m)^learning_rate = .*$", f"learning_rate = {rate}", text)
    return text + (f"\n[tuning]\n{table}\n" if table else "")


def trained(trainer, config):
    """Numbers that learn: the optimizer keeps two of four bytes for each."""
    plan = [trainer, "plan", "--config", config, "--device", "flex", "--json"]
    told = subprocess.run(plan, check=True, capture_output=True, text=True).stdout
    return json.loads(told)["parts"]["optimizer"] // 8


def run(trainer, config, folder, seed, steps):
    """The result of a run, with the peak of its memory in bytes."""
    peak = folder / "peak"
    if not peak.exists():
        command = [trainer, "reinforce", "--config", config, "--output-dir", folder, "--seed", seed, "--steps", steps]
        with open(f"{folder}.log", "w") as log:
            process = subprocess.Popen([*map(str, command), "--device", "flex"], stdout=log, stderr=log)
            _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            raise SystemExit(f"{folder}.log says what went wrong")
        peak.write_text(str(usage.ru_maxrss * 1024))
    return json.loads((folder / "result.json").read_text()) | {"peak": int(peak.read_text())}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trainer")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--only", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--output", type=Path, default=Path("runs/tuning"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    print("| method | learning rate | trained | peak, MB | seconds | before | after | difference | KL |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for name, (table, rate) in METHODS.items():
        if name not in arguments.only:
            continue
        place = re.sub(r"\W+", "-", name)
        config = arguments.output / f"{place}.toml"
        config.write_text(recipe(table, rate))
        rate = rate or float(re.search(r"(?m)^learning_rate = (.*)$", config.read_text()).group(1))
        runs = [
            run(arguments.trainer, config, arguments.output / f"{place}-{seed}", seed, arguments.steps)
            for seed in arguments.seeds
        ]
        mean = lambda of: sum(map(of, runs)) / len(runs)
        each = ", ".join(f"{run['difference']['mean']:+.4f}" for run in runs)
        print(
            f"| {name} | {rate:g} | {trained(arguments.trainer, config):,} | {mean(lambda r: r['peak']) / 1e6:.0f} "
            f"| {mean(lambda r: r['seconds']):.0f} | {mean(lambda r: r['before']['mean']):.4f} "
            f"| {mean(lambda r: r['after']['mean']):.4f} | {each} | {mean(lambda r: r['kl_nats']):.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
