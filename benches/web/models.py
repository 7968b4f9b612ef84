"""Models with random weights in the peers' formats, of the shapes that `cargo xtask bench web` decodes with.

ONNX for onnxruntime-web: GPT-2's layout with keys and values as inputs and outputs. GGUF for wllama: a Llama of the same depth
and width, its gated feed-forward two thirds as wide so that it has about as many weights. A Hugging Face folder of a GPT-2 for
our own engine, which `trainer export` packs. Speed does not depend on the values, so that the three need not be the same policy;
the head is as large in all of them, whether its weights are those of the embedding or not.

Usage: python models.py FOLDER
"""

import json
import math
import sys
from pathlib import Path

import gguf
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

SHAPES = {
    "xs": {"layers": 4, "width": 128, "heads": 4, "vocabulary": 512, "context": 256},
    "s": {"layers": 6, "width": 384, "heads": 6, "vocabulary": 8192, "context": 512},
}
COINS = np.random.default_rng(20261124)


def weights(*shape):
    return COINS.normal(0.0, 0.02, shape).astype(np.float32)


class Graph:
    """Nodes and constants of an ONNX graph, in the order of the calls."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, value, kind=np.float32):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=kind), name))
        return name

    def numbers(self, *values):
        return self.constant(values, np.int64)

    def call(self, operator, *inputs, to=None, outputs=1, **attributes):
        names = [to] if to else [f"n{len(self.nodes)}_{place}" for place in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def norm(self, x, width):
        one, zero = self.constant(np.ones(width)), self.constant(np.zeros(width))
        return self.call("LayerNormalization", x, one, zero, axis=-1, epsilon=1e-5)

    def linear(self, x, n_in, n_out):
        product = self.call("MatMul", x, self.constant(weights(n_in, n_out)))
        return self.call("Add", product, self.constant(np.zeros(n_out)))


def causal_bias(graph):
    """0 where a position may look, far below elsewhere. [S, past + S]"""
    length = graph.call("Squeeze", graph.call("Shape", "input_ids", start=1, end=2))
    total = graph.call("Squeeze", graph.call("Shape", "attention_mask", start=1, end=2))
    zero, one = graph.constant(0, np.int64), graph.constant(1, np.int64)
    rows = graph.call("Range", graph.call("Sub", total, length), total, one)
    columns = graph.call("Range", zero, total, one)
    rows = graph.call("Unsqueeze", rows, graph.numbers(1))
    columns = graph.call("Unsqueeze", columns, graph.numbers(0))
    visible = graph.call("LessOrEqual", columns, rows)
    return graph.call("Where", visible, graph.constant(0.0), graph.constant(-1e9))


def attention(graph, x, layer, bias, shape):
    width, heads = shape["width"], shape["heads"]
    split = graph.numbers(1, -1, heads, width // heads)
    parts = graph.call("Split", graph.linear(x, width, 3 * width), outputs=3, axis=2, num_outputs=3)
    query, key, value = (
        graph.call("Transpose", graph.call("Reshape", part, split), perm=[0, 2, 1, 3]) for part in parts
    )
    key = graph.call("Concat", f"past_key_values.{layer}.key", key, to=f"present.{layer}.key", axis=2)
    value = graph.call("Concat", f"past_key_values.{layer}.value", value, to=f"present.{layer}.value", axis=2)
    scores = graph.call("MatMul", query, graph.call("Transpose", key, perm=[0, 1, 3, 2]))
    scores = graph.call("Mul", scores, graph.constant(1.0 / math.sqrt(width // heads)))
    shares = graph.call("Softmax", graph.call("Add", scores, bias), axis=-1)
    mixed = graph.call("Transpose", graph.call("MatMul", shares, value), perm=[0, 2, 1, 3])
    return graph.linear(graph.call("Reshape", mixed, graph.numbers(1, -1, width)), width, width)


def gelu(graph, x):
    """The sigmoid form, which is the cheapest of the usual ones."""
    return graph.call("Mul", x, graph.call("Sigmoid", graph.call("Mul", x, graph.constant(1.702))))


def write_onnx(path, shape):
    width, vocabulary = shape["width"], shape["vocabulary"]
    graph = Graph()
    tokens = graph.call("Gather", graph.constant(weights(vocabulary, width)), "input_ids")
    positions = graph.call("Gather", graph.constant(weights(shape["context"], width)), "position_ids")
    x = graph.call("Add", tokens, positions)
    bias = causal_bias(graph)
    for layer in range(shape["layers"]):
        x = graph.call("Add", x, attention(graph, graph.norm(x, width), layer, bias, shape))
        inner = gelu(graph, graph.linear(graph.norm(x, width), width, 4 * width))
        x = graph.call("Add", x, graph.linear(inner, 4 * width, width))
    head = graph.constant(weights(width, vocabulary))
    graph.call("MatMul", graph.norm(x, width), head, to="logits")
    model = helper.make_model(
        helper.make_graph(graph.nodes, "decoder", inputs(shape), outputs(shape), graph.constants),
        opset_imports=[helper.make_opsetid("", 18)],
    )
    model.ir_version = 9
    onnx.save(model, path)


def cache(shape, name, length):
    sizes = [1, shape["heads"], length, shape["width"] // shape["heads"]]
    for layer in range(shape["layers"]):
        for part in ("key", "value"):
            yield helper.make_tensor_value_info(f"{name}.{layer}.{part}", TensorProto.FLOAT, sizes)


def inputs(shape):
    lengths = {"input_ids": "length", "attention_mask": "total", "position_ids": "length"}
    ids = [helper.make_tensor_value_info(name, TensorProto.INT64, [1, n]) for name, n in lengths.items()]
    return ids + list(cache(shape, "past_key_values", "past"))


def outputs(shape):
    sizes = [1, "length", shape["vocabulary"]]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, sizes)
    return [logits, *cache(shape, "present", "total")]


def write_gguf(path, shape):
    width, vocabulary, heads = shape["width"], shape["vocabulary"], shape["heads"]
    inner = 8 * width // 3 // 32 * 32
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(shape["context"])
    writer.add_embedding_length(width)
    writer.add_block_count(shape["layers"])
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // heads)
    writer.add_vocab_size(vocabulary)
    add_vocabulary(writer, vocabulary)
    writer.add_tensor("token_embd.weight", weights(vocabulary, width))
    head = weights(vocabulary, width)
    # Neither the end token nor lone bytes, which can be half a character, are ever the likeliest.
    head[2:259] = 0.0
    writer.add_tensor("output.weight", head)
    writer.add_tensor("output_norm.weight", np.ones(width, np.float32))
    for layer in range(shape["layers"]):
        block = f"blk.{layer}."
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{block}{name}.weight", np.ones(width, np.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"{block}{name}.weight", weights(width, width))
        for name, sizes in (("ffn_gate", (inner, width)), ("ffn_up", (inner, width)), ("ffn_down", (width, inner))):
            writer.add_tensor(f"{block}{name}.weight", weights(*sizes))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_vocabulary(writer, size):
    """Three special tokens, every byte, and made-up words."""
    special, lone = ["<unk>", "<s>", "</s>"], [f"<0x{byte:02X}>" for byte in range(256)]
    words = [f"\u2581w{place}" for place in range(size - len(special) - len(lone))]
    kinds = [2, 3, 3] + [6] * len(lone) + [1] * len(words)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(special + lone + words)
    writer.add_token_scores([-float(place) for place in range(size)])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)


SPECIAL = ["<|pad|>", "<|end|>"]


def write_folder(folder, shape):
    """A GPT-2 as Hugging Face keeps it: linear weights are [in, out], the head is the embedding."""
    folder.mkdir(exist_ok=True)
    width, vocabulary = shape["width"], shape["vocabulary"]
    embedding = weights(vocabulary, width)
    # The end token is never likely: a completion has the length that is asked for.
    embedding[: len(SPECIAL)] = 0.0
    tensors = {"transformer.wte.weight": embedding, "transformer.wpe.weight": weights(shape["context"], width)}
    linears = {"attn.c_attn": (1, 3), "attn.c_proj": (1, 1), "mlp.c_fc": (1, 4), "mlp.c_proj": (4, 1)}
    norms = ["transformer.ln_f"]
    for layer in range(shape["layers"]):
        block = f"transformer.h.{layer}."
        norms += [f"{block}ln_1", f"{block}ln_2"]
        for name, (n_in, n_out) in linears.items():
            tensors[f"{block}{name}.weight"] = weights(n_in * width, n_out * width)
            tensors[f"{block}{name}.bias"] = np.zeros(n_out * width, np.float32)
    for name in norms:
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = np.ones(width, np.float32), np.zeros(width, np.float32)
    save_file(tensors, folder / "model.safetensors")
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_layer": shape["layers"],
        "n_head": shape["heads"],
        "n_embd": width,
        "n_positions": shape["context"],
        "vocab_size": vocabulary,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "bos_token_id": 1,
        "eos_token_id": 1,
        "pad_token_id": 0,
        "tie_word_embeddings": True,
        "dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(byte_tokenizer(vocabulary)))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages[0]['content'] }}"}))


def byte_tokenizer(size):
    """A byte-level BPE without merges: special tokens, every byte, made-up words that nothing encodes to."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(moved))]
    words = [f"w{place}" for place in range(size - len(SPECIAL) - len(letters))]
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": place, "content": name, **plain} for place, name in enumerate(SPECIAL)],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {name: place for place, name in enumerate(SPECIAL + letters + words)},
            "merges": [],
        },
    }


CARD = """\
name = "bench"
summary = "Random weights."
tasks = ["sentences"]
license = "MIT OR Apache-2.0"
recipe = "benches/web/models.py"
"""


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, shape in SHAPES.items():
        write_onnx(folder / f"{name}.onnx", shape)
        write_gguf(folder / f"{name}.gguf", shape)
        write_folder(folder / name, shape)
    (folder / "shapes.json").write_text(json.dumps(SHAPES))
    (folder / "card.toml").write_text(CARD)


if __name__ == "__main__":
    main()
