"""Records test/goldens/engine/onnx-versions.json: the version that opset 18 gives every operator of ONNX."""
import json
from pathlib import Path

import onnx

OPSET = 18

versions = {}
for schema in onnx.defs.get_all_schemas_with_history():
    if schema.domain == "" and schema.since_version <= OPSET and not schema.deprecated:
        versions[schema.name] = max(versions.get(schema.name, 0), schema.since_version)

target = Path(__file__).parents[2] / "test/goldens/engine/onnx-versions.json"
target.write_text(json.dumps({"opset": OPSET, "versions": dict(sorted(versions.items()))}) + "\n")
