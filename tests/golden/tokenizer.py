"""Makes tokenizer.json: words and token ids of byte-level BPE as Hugging Face's `tokenizers` finds them.

The vocabulary is the one of chat_template.json; its pre-tokenizer is exchanged for each kind that Kudos
knows. Texts are lines of real data and strings of characters that the patterns tell apart. Run from the
root of the repository:

    pip install -r tests/golden/requirements.txt
    python tests/golden/tokenizer.py
"""

import json
import pathlib
import random

from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/golden"

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_level(use_regex):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


def after(first, then):
    return {"type": "Sequence", "pretokenizers": [first, then]}


def digits(individual):
    return {"type": "Digits", "individual_digits": individual}


def split(pattern):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


PRE_TOKENIZERS = {
    "gpt2": byte_level(True),
    "no words": byte_level(False),
    "ours": after(digits(True), byte_level(True)),
    "digits": after(digits(False), byte_level(True)),
    "gpt2 as a split": after(split(GPT2), byte_level(False)),
    "gpt4": after(split(GPT4.replace("DIGITS", r"\p{N}{1,3}")), byte_level(False)),
    "gpt4, single digits": after(split(GPT4.replace("DIGITS", r"\p{N}")), byte_level(False)),
}

# Letters in several scripts, marks, digits, signs, line ends and kinds of white space.
ALPHABETS = [
    " abcthe hat cat",
    " 's't're've'm'll'd'S'T'RE'LL'x",
    " a1½Ⅳ٣²\n\r\t",
    " .,!?-_<|>end\n\r",
    " Äéßжעא東京한ʰªá\u0301\u00a0\u3000\u2028",
    " 🙂👩\u200d🚀\u200b\ufeff\u00ad\u0000\u001f\u007f€",
]


def texts():
    coins = random.Random(7)
    rows = (ROOT / "data/dialogue.jsonl").read_text(encoding="utf-8").splitlines()
    yield from ["", " ", "  ", "\n", "a", " a", "  a", "a  ", "a \n b", "a\n\n  b\r\n", "12345 67"]
    yield from ["<|end|> <|pad|>", "the hat", "I'm, you're, we'Ll", "it's 1234.5% \t\t of 東京!!\n\n"]
    # Letters apart from their marks, which a normalizer puts together.
    yield from ["e\u0301te\u0301", "A\u030angstro\u0308m \u212b", "\u1100\u1161 \ufb01 \u2126"]
    yield from ("".join(json.loads(row)["turns"]) for row in coins.sample(rows, 12))
    for alphabet in ALPHABETS + ["".join(ALPHABETS)]:
        for _ in range(14):
            yield "".join(coins.choice(alphabet) for _ in range(coins.randrange(2, 30)))


def main():
    base = json.loads((GOLDEN / "chat_template.json").read_text(encoding="utf-8"))["tokenizer"]
    files = {name: dict(base, pre_tokenizer=part) for name, part in PRE_TOKENIZERS.items()}
    # Words that are tokens whatever the merges say, as in Llama 3; a token beside the vocabulary.
    files["ignore merges"] = dict(base, model=dict(base["model"], merges=base["model"]["merges"][:20], ignore_merges=True))
    beside = {"id": len(base["model"]["vocab"]), "content": "the hat", "single_word": False, "lstrip": False}
    beside |= {"rstrip": False, "normalized": False, "special": False}
    files["added token"] = dict(base, added_tokens=base["added_tokens"] + [beside])
    files["composed"] = dict(base, normalizer={"type": "NFC"})
    golden = {"texts": list(texts()), "cases": []}
    for name, file in files.items():
        tokenizer = Tokenizer.from_str(json.dumps(file))
        tokenizer.encode_special_tokens = True
        cut = tokenizer.pre_tokenizer.pre_tokenize_str
        changes = {key: file[key] for key in ("pre_tokenizer", "added_tokens", "normalizer") if file[key] != base[key]}
        if file["model"] != base["model"]:
            changes["model"] = {"ignore_merges": True, "n_merges": len(file["model"]["merges"])}
        golden["cases"].append({
            "name": name,
            "changes": changes,
            "word_ends": [[end for _, (_, end) in cut(text)] for text in golden["texts"]],
            "ids": [tokenizer.encode(text, add_special_tokens=False).ids for text in golden["texts"]],
        })
    path = GOLDEN / "tokenizer.json"
    path.write_text(json.dumps(golden, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{path.relative_to(ROOT)}: {len(golden['texts'])} texts, {len(files)} files, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
