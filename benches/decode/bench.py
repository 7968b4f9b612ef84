"""Decoding one completion with weights in 8 bits, ours beside llama.cpp's: tokens a second on the same file.

    python bench.py TRAINER MODEL.gguf OUT [THREADS] [TURNS]

TRAINER is the program `trainer`, MODEL.gguf a model that both read, OUT a folder that does not exist yet. Its matrices are rounded to Q8_0 first,
which is 32 numbers of 8 bits to a factor: that file is read by both, and ours multiplies with the same 8 bits (`trainer sample --weights int8`).
Greedy, one prompt, f32 everywhere else (llama.cpp rounds activations to 8 bits as well). Ours is what 416 tokens take more than 32, of each the best of all
turns; llama.cpp's own clock says what its 416 took, the best turn counts. The sides take turns. Needs gguf, numpy and xllamacpp (llama.cpp in a wheel).
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

PROMPT = "The history of the town begins"
FEW, MANY = 32, 416


def rounded(source, target):
    """The same file with matrices in Q8_0."""
    import gguf

    reader = gguf.GGUFReader(source)
    field = reader.get_field
    writer = gguf.GGUFWriter(target, field("general.architecture").contents())
    for name, one in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type", "general.quantization_version"):
            continue
        inner = one.types[-1] if one.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, one.contents(), one.types[0], sub_type=inner)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    kind = gguf.GGMLQuantizationType.Q8_0
    for tensor in reader.tensors:
        numbers = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        if numbers.ndim < 2:
            writer.add_tensor(tensor.name, numbers)
        else:
            writer.add_tensor(tensor.name, gguf.quants.quantize(numbers, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def ours(trainer, model, threads, length):
    """Seconds, tokens and the text of a whole command."""
    command = [trainer, "sample", "--model", model, "--prompt", PROMPT, "--temperature", "0", "--weights", "int8", "--json",
               "--max-completion-length", str(length), "--device", "flex"]
    environment = os.environ | {"RAYON_NUM_THREADS": str(threads), "MIMALLOC_PURGE_DELAY": "-1"}
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    sample = json.loads(done.stdout.strip().splitlines()[-1])
    return seconds, len(sample["token_ids"]), sample["text"]


def theirs(model, threads):
    """The same of llama.cpp, in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--peer", model, str(threads)], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return found["speed"], found["text"]


def peer(model, threads):
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path, parameters.n_ctx, parameters.n_parallel, parameters.warmup = model, 512, 1, True
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = int(threads)
    server = xllamacpp.Server(parameters)
    found = server.handle_completions({"prompt": PROMPT, "max_tokens": MANY, "temperature": 0, "ignore_eos": True})
    print(json.dumps({"speed": found["timings"]["predicted_per_second"], "text": found["choices"][0]["text"]}))


def main():
    trainer, source, out = (Path(argument).resolve() for argument in sys.argv[1:4])
    threads = int(sys.argv[4]) if len(sys.argv) > 4 else 2
    turns = int(sys.argv[5]) if len(sys.argv) > 5 else 3
    out.mkdir()
    model = str(out / "q8_0.gguf")
    rounded(str(source), model)
    runs, theirs_best = {FEW: [], MANY: []}, 0.0
    for _ in range(turns):
        for length, found in runs.items():
            found.append(ours(trainer, model, threads, length))
        speed, text = theirs(model, threads)
        theirs_best = max(theirs_best, speed)
        print(f"ours: {runs[FEW][-1][0]:.2f} and {runs[MANY][-1][0]:.2f} s: {runs[MANY][-1][2][:60]!r}", flush=True)
        print(f"llama.cpp: {speed:.1f} tokens/s: {text[:60]!r}", flush=True)
    few, many = min(runs[FEW]), min(runs[MANY])
    ours_best = (many[1] - few[1]) / (many[0] - few[0])
    ratio = ours_best / theirs_best
    print(f"{threads} threads: {ours_best:.1f} tokens/s ours, {theirs_best:.1f} llama.cpp's, ratio {ratio:.2f}")


if __name__ == "__main__":
    if sys.argv[1] == "--peer":
        peer(*sys.argv[2:4])
    else:
        main()
