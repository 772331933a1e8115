"""The Hugging Face cache as huggingface_hub makes and reads it, for src/hub/python.test.ts.

  hub_cache.py make ENDPOINT HOME REPO FILE...   downloads the files, and prints what HOME/hub holds then
  hub_cache.py find HOME REPO FILE...            prints whether huggingface_hub finds the files in HOME/hub, offline

The test starts the hub; with S3A_RECORD=1 it writes what `make` printed to test/goldens/hub/cache.json.
"""

import json
import os
import sys
from pathlib import Path

verb, *args = sys.argv[1:]
if verb == 'make':
    os.environ['HF_ENDPOINT'] = args.pop(0)
home, repo, *files = args
os.environ['HF_HOME'] = home
os.environ['HF_HUB_OFFLINE'] = '1' if verb == 'find' else '0'
os.environ['HF_HUB_DISABLE_XET'] = '1'

import huggingface_hub  # noqa: E402  the environment must be set before

hub = Path(home) / 'hub'
if verb == 'make':
    for file in files:
        huggingface_hub.hf_hub_download(repo, file)
    tree = {}
    for path in sorted(hub.rglob('*')):
        name = path.relative_to(hub).as_posix()
        if name.startswith('.locks'):
            continue
        if path.is_symlink():
            tree[name] = f'-> {os.readlink(path)}'
        elif path.is_file():
            small = path.parent.name == 'refs' or path.name == 'CACHEDIR.TAG'
            tree[name] = path.read_text() if small else f'{path.stat().st_size} bytes'
    print(json.dumps(tree, indent=2))
else:
    found = [huggingface_hub.try_to_load_from_cache(repo, file) for file in files]
    snapshot = huggingface_hub.snapshot_download(repo, local_files_only=True)
    scanned = huggingface_hub.scan_cache_dir(hub)
    repos = [one for one in scanned.repos if one.repo_id == repo]
    print(
        json.dumps(
            {
                'found': [isinstance(path, str) and Path(path).is_file() for path in found],
                'snapshot': Path(snapshot).relative_to(hub).as_posix(),
                'files': sorted(
                    file.file_path.relative_to(snapshot).as_posix() for one in repos for rev in one.revisions for file in rev.files
                ),
                'refs': sorted(ref for one in repos for ref in one.refs),
                'warnings': [str(warning).replace(home, 'HOME') for warning in scanned.warnings],
            }
        )
    )
