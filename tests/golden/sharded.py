"""transformer/llama once more, as transformers writes it in several files.

Writes sharded/: model-0000N-of-0000M.safetensors and model.safetensors.index.json. Usage: python sharded.py [FOLDER]
"""

import sys
import tempfile
from pathlib import Path

from transformers import LlamaForCausalLM

here = Path(__file__).parent
folder = Path(sys.argv[1] if len(sys.argv) > 1 else here / "sharded")
folder.mkdir(parents=True, exist_ok=True)
with tempfile.TemporaryDirectory() as written:
    LlamaForCausalLM.from_pretrained(here / "transformer/llama").save_pretrained(written, max_shard_size="30KB")
    for path in sorted(Path(written).glob("model*")):
        (folder / path.name).write_bytes(path.read_bytes())
        print(path.name, path.stat().st_size)
