"""A tiny sentence encoder by Python's transformers and tokenizers: encoder/ is read by tests/golden_encoder.rs.

    python encoder.py

The weights are random: the numbers check the arithmetic, not the quality. Texts go through the reference
tokenizer, so the token ids check WordPiece with its normalization.
"""

import json
from pathlib import Path

import torch
from bert_score.utils import greedy_cos_idf
from safetensors.torch import save_file
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece
from transformers import BertConfig, BertModel

TEXTS = [
    "The cat sat on the mat.",
    "the CAT sat",
    "Café naïve Ångström",
    "don't stop-me (now)!",
    "unaffable unaffordable",
    "tab\there\nand  there\r\n",
    "日本語 and 中文字",
    "zero\u200bwidth \u00adsoft \ufffd gone \x00 too",
    "a\u0301cute ﬁne Straße İstanbul",
    "$5.99 + 3€ ~ 8°",
    "[SEP] is text",
    "qqq" * 40,
    "emoji 🙂 unknown",
    "한국어 กำ",
    "«quoted» “so” — it … ends¿",
]
WORDS = (
    "the cat sat on mat cafe naive angstrom don stop me now un ##aff ##able ##ord tab here and there zero "
    "##width soft gone too acute fine strasse istanbul 5 99 3 8 is text sep emoji quoted so it ends "
    ". ' - ( ) ! , $ + ~ [ ] « » “ ” — … ¿ 日 本 語 中 文 字 q ##q ##s ##e a ##c ##t"
).split()
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def tokenizer():
    vocabulary = {piece: place for place, piece in enumerate(SPECIALS + WORDS)}
    made = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    markers = [(name, vocabulary[name]) for name in ("[SEP]", "[CLS]")]
    made.post_processor = processors.BertProcessing(*markers)
    return made


def greedy(candidate, candidate_mask, reference, reference_mask):
    def weights(mask):
        inner = mask.clone().float()
        inner[:, 0] = inner[:, -1] = 0
        return inner

    found = greedy_cos_idf(
        reference.clone(), reference_mask.float(), weights(reference_mask),
        candidate.clone(), candidate_mask.float(), weights(candidate_mask),
    )
    return [float(part) for part in found]


def main():
    torch.manual_seed(7)
    out = Path(__file__).parent / "encoder"
    out.mkdir(exist_ok=True)
    made = tokenizer()
    made.save(str(out / "tokenizer.json"))
    config = BertConfig(
        vocab_size=made.get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    model = BertModel(config).eval()
    with torch.no_grad():
        # Large enough that every part matters.
        for name, parameter in model.named_parameters():
            spread = 0.4 if parameter.dim() > 1 else 0.2
            parameter.add_(torch.randn_like(parameter) * spread)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, out / "model.safetensors")
    (out / "config.json").write_text(json.dumps(config.to_dict(), indent=2, default=str))
    rows, read = [], []
    for text in TEXTS:
        ids = made.encode(text).ids
        batch = torch.tensor([ids])
        mask = torch.ones_like(batch)
        model.zero_grad()
        states = model(batch, attention_mask=mask, output_hidden_states=True).hidden_states
        means = torch.cat([layer.mean(1) for layer in states], 1)[0]
        means.sum().backward()
        grads = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        read.append((states[-1].detach(), mask))
        embedding = torch.nn.functional.normalize(states[-1].mean(1), dim=1)[0]
        rows.append({
            "text": text,
            "ids": ids,
            "features": means.tolist(),
            "embedding": embedding.tolist(),
            # Of the sum of all features, by all parameters.
            "gradient_norm": float(torch.cat(grads).norm()),
        })
    for row, (own, mask) in zip(rows, read):
        # Precision, recall and F1 against every text; the marks at both ends weigh nothing.
        row["matched"] = [greedy(own, mask, *other) for other in read]
    expected = json.dumps(rows, ensure_ascii=True, indent=0)
    (out / "expected.json").write_text(expected + "\n")


if __name__ == "__main__":
    main()
