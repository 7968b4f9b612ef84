"""A tiny policy with eyes by PyTorch and transformers: vision/ is read by tests/golden_vision.rs.

    python vision.py

The weights are random: the numbers check the arithmetic, not the quality. Patches of pictures are put among
the embeddings of a Llama's tokens; logits come from its forward pass, gradients from autograd.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

SIZE, WIDTH, D_MODEL, VOCABULARY = 16, 2, 8, 13
PATCHES = (SIZE // 8) ** 2
FOLDER = Path(__file__).parent / "vision"

# A number is a token, a string the place of a picture.
ROWS = [["a", 1, 2, 3], [4, "b", 5, "a"], [6, 7]]


class Eyes(nn.Module):
    def __init__(self):
        super().__init__()
        channels = [3, WIDTH, 2 * WIDTH, 4 * WIDTH]
        pairs = zip(channels, channels[1:])
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs)
        self.output = nn.Linear(channels[-1], D_MODEL)
        self.places = nn.Parameter(torch.randn(PATCHES, D_MODEL))

    def forward(self, pictures):
        stream = pictures
        for one in self.convolutions:
            stream = nn.functional.gelu(one(stream))
        return self.output(stream.flatten(2).transpose(1, 2)) + self.places


def main():
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=D_MODEL, intermediate_size=12, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=16, rms_norm_eps=1e-5,
        rope_theta=10000.0, tie_word_embeddings=True, initializer_range=0.3,
    )
    model, eyes = LlamaForCausalLM(config).eval(), Eyes()
    pixels = torch.randint(0, 256, (2, SIZE, SIZE, 3))
    pictures = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
    embedded = dict(zip("ab", eyes(pictures)))
    table = model.get_input_embeddings().weight

    def embed(part):
        return embedded[part] if isinstance(part, str) else table[part : part + 1]

    logits, loss = [], torch.zeros(())
    for place, row in enumerate(ROWS):
        stream = torch.cat([embed(part) for part in row])
        found = model(inputs_embeds=stream[None]).logits[0]
        logits.append(found)
        loss = loss - torch.log_softmax(found[-1], -1)[place]
    loss.backward()
    gradients = {f"eyes.{name}": one.grad.flatten().tolist() for name, one in eyes.named_parameters()}
    # Ours are [input, output].
    gradients["eyes.output.weight"] = eyes.output.weight.grad.T.flatten().tolist()

    FOLDER.mkdir(exist_ok=True)
    weights = {name: one.detach().clone() for name, one in model.state_dict().items() if name != "lm_head.weight"}
    weights |= {f"vision.{name}": one.detach().clone() for name, one in eyes.state_dict().items()}
    save_file(weights, FOLDER / "model.safetensors", metadata={"format": "pt"})
    stored = {
        "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": D_MODEL, "intermediate_size": 12,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 16,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True, "hidden_act": "silu",
        "vision_config": {"image_size": SIZE, "width": WIDTH},
    }
    (FOLDER / "config.json").write_text(json.dumps(stored, indent=1) + "\n")
    expected = {
        "pixels": pixels.flatten().tolist(),
        "rows": ROWS,
        "logits": [one.flatten().tolist() for one in logits],
        "loss": loss.item(),
        "gradients": gradients,
    }
    (FOLDER / "expected.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    main()
