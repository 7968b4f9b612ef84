"""TensorBoard event files, as the tensorboard package itself reads and writes them.

With FOLDER: prints the scalars of a run's folder as one JSON object, {tag: [[step, value], ...]},
with the steps that TensorBoard itself would show: those that a resumed run wrote anew are purged.
Values are single precision, as in the file.
With --golden: writes read_events.json, checksums and whole records in hexadecimal, to compare with
byte by byte.
Usage: python read_events.py FOLDER
       python read_events.py --golden [FILE]
"""

import io
import json
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import crc32c, masked_crc32c
from tensorboard.summary.writer.record_writer import RecordWriter

WALL_TIME = 1700000000.25
TEXTS = ["", "a", "123456789", "The quick brown fox jumps over the lazy dog"]


def scalars(step, values):
    """A summary of (tag, value) pairs, in their order."""
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=x) for tag, x in values])
    return Event(wall_time=WALL_TIME, step=step, summary=summary)


EVENTS = {
    "version": Event(wall_time=WALL_TIME, file_version="brain.Event:2"),
    "scalars": scalars(300, [("reward", 0.1), ("rewards/triple_f1/mean", -2.5), ("kl", 0.0)]),
    "step_zero": scalars(0, [("é", 1e-30)]),
    "large_step": scalars(2**62, [("x" * 200, 3.5)]),
    "start": Event(wall_time=WALL_TIME, step=120, session_log=SessionLog(status=SessionLog.START)),
}


def record(event):
    """One event in TFRecord framing."""
    file = io.BytesIO()
    RecordWriter(file).write(event.SerializeToString())
    return file.getvalue().hex()


def write(path):
    checksums = [
        {"text": text, "crc32c": crc32c(text.encode()), "masked": int(masked_crc32c(text.encode()))}
        for text in TEXTS
    ]
    records = {name: record(event) for name, event in EVENTS.items()}
    path.write_text(json.dumps({"checksums": checksums, "records": records}, indent=1) + "\n")


def read(folder):
    accumulator = EventAccumulator(folder, size_guidance={"scalars": 0, "tensors": 0})
    accumulator.Reload()
    tags = accumulator.Tags()["scalars"]
    curves = {tag: [[x.step, x.value] for x in accumulator.Scalars(tag)] for tag in sorted(tags)}
    print(json.dumps(curves))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--golden"] and len(sys.argv) <= 3:
        write(Path((sys.argv[2:] or [Path(__file__).with_suffix(".json")])[0]))
    elif len(sys.argv) == 2:
        read(sys.argv[1])
    else:
        sys.exit(__doc__)
