"""Records open_clip's table of pre-trained weights: architecture, tag, repository, whether QuickGELU, tokenizer's repository."""

import importlib
import importlib.util
import json
import sys
import types
from pathlib import Path

# The table and the configs alone: the package itself would load torch and torchvision.
folder = Path(importlib.util.find_spec('open_clip').submodule_search_locations[0])
package = types.ModuleType('open_clip')
package.__path__ = [str(folder)]
sys.modules['open_clip'] = package
table = importlib.import_module('open_clip.pretrained')._PRETRAINED

names = {}
for architecture, tags in table.items():
    config = json.loads((folder / 'model_configs' / f'{architecture}.json').read_text()) if (
        folder / 'model_configs' / f'{architecture}.json'
    ).exists() else {}
    vision, text = config.get('vision_cfg', {}), config.get('text_cfg', {})
    plain = 'timm_model_name' not in vision or '_siglip_' in vision['timm_model_name']
    for tag, entry in tags.items():
        hub = entry['hf_hub']
        names[f'{architecture}:{tag}'] = {
            'repo': hub.rsplit('/', 1)[0],
            'file': hub.rsplit('/', 1)[1],
            'quickGelu': bool(entry.get('quick_gelu', False)),
            'plain': plain and not any(key in text for key in ('hf_model_name', 'embed_cls')),
        }

out = Path(__file__).parents[2] / 'test' / 'goldens' / 'hub'
out.mkdir(parents=True, exist_ok=True)
lines = ',\n'.join(f'  {json.dumps(name)}: {json.dumps(entry)}' for name, entry in names.items())
(out / 'open-clip-names.json').write_text('{\n' + lines + '\n}\n')
