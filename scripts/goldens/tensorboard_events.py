"""Records test/goldens/tensorboard.json: events and records as tensorboard's own protocol buffers and writer make them."""
import io
import json
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import crc32c, masked_crc32c
from tensorboard.summary.writer.record_writer import RecordWriter

out = Path(__file__).resolve().parents[2] / "test" / "goldens" / "tensorboard.json"


class Kept(io.BytesIO):
    def close(self):
        pass


def scalars(seconds, step, values):
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values])
    return Event(wall_time=seconds, step=step, summary=summary)


def text(seconds, step, name, content):
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    tensor = TensorProto(dtype="DT_STRING", string_val=[content.encode()], tensor_shape=shape)
    value = Summary.Value(tag=f"{name}/text_summary", tensor=tensor, metadata=metadata)
    return Event(wall_time=seconds, step=step, summary=Summary(value=[value]))


start = SessionLog(status=SessionLog.START)
cases = [
    ({"kind": "version"}, 1700000000.25, Event(wall_time=1700000000.25, file_version="brain.Event:2")),
    ({"kind": "start", "step": 0}, 1.5, Event(wall_time=1.5, step=0, session_log=start)),
    ({"kind": "start", "step": 300}, 1.5, Event(wall_time=1.5, step=300, session_log=start)),
    *(({"kind": "scalars", "step": step, "values": values}, 2.125, scalars(2.125, step, values))
      for step, values in ((0, [("loss", 0.0)]), (7, [("loss", 1.5), ("lr", 1e-9), ("maskShare", -0.3)]), (2**40, [("Größe/é", 3.4e38)]))),
    *(({"kind": "text", "step": 3, "name": name, "text": content}, 9.0, text(9.0, 3, name, content))
      for name, content in (("hparams", "| a | b |\n|---|---|"), ("leer", ""), ("long", "x" * 300))),
]
stream = Kept()
writer = RecordWriter(stream)
for _, _, event in cases:
    writer.write(event.SerializeToString())
writer.flush()
texts = [b"", b"123456789", bytes(32), b"\xff" * 32, bytes(range(256))]
out.write_text(json.dumps({
    "crc": [{"hex": t.hex(), "crc32c": int(crc32c(t)), "masked": int(masked_crc32c(t))} for t in texts],
    "events": [{"content": content, "seconds": seconds, "hex": event.SerializeToString().hex()} for content, seconds, event in cases],
    "records": stream.getvalue().hex(),
}, indent=1) + "\n")
