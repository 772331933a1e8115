"""Records test/goldens/vocab.json: the vocabularies of WordNet 3.0 as NLTK reads them.

    apt-get download wordnet-base && dpkg -x wordnet-base_*.deb wn
    python scripts/goldens/vocab.py wn/usr/share/wordnet imagenet21k_ids.txt imagenet1k_ids.txt
"""

import hashlib
import json
import random
import sys
from pathlib import Path

import nltk
from nltk.corpus.reader.wordnet import WordNetCorpusReader

OUT = Path(__file__).resolve().parents[2] / "test" / "goldens" / "vocab.json"

# lexnames is not in every packaging of WordNet; its names are not used here.
folder = Path(sys.argv[1]).resolve()
if not (folder / "lexnames").exists():
    (folder / "lexnames").write_text("".join(f"{i:02}\tlex{i}\t1\n" for i in range(45)))
# NLTK opens files in its data folders only.
nltk.data.path.append(str(folder))
# It maps offsets to those of another version's files, which are not needed.
WordNetCorpusReader.map_wn = lambda self, version=None: None
wordnet = WordNetCorpusReader(str(folder), None)
ids21k, ids1k = (Path(path).read_text().split() for path in sys.argv[2:4])


def id_of(synset):
    return f"n{synset.offset():08d}"


def words(synset):
    return [name.replace("_", " ") for name in synset.lemma_names()]


def parents(synset):
    return sorted(id_of(parent) for parent in synset.hypernyms() + synset.instance_hypernyms())


def sha256(lines):
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def vocabulary(synsets):
    names = {}
    for synset in synsets:
        names.setdefault(words(synset)[0].lower(), []).append(id_of(synset))
    most = max(names, key=lambda name: len(names[name]))
    return {
        "names": len(names),
        "synsets": len(synsets),
        "sha256OfNames": sha256(names),
        "sha256OfSynsets": sha256(f"{name} {' '.join(ids)}" for name, ids in names.items()),
        "mostSynsets": [most, *names[most]],
    }


nouns = sorted(wordnet.all_synsets("n"), key=lambda synset: synset.offset())
by_id = {id_of(synset): synset for synset in nouns}
drawn = random.Random(0).sample(nouns, 60)
dog = wordnet.synset("dog.n.01")
golden = {
    "in21k": vocabulary([by_id[i] for i in sorted({*ids21k, *ids1k})]),
    "in1k": vocabulary([by_id[i] for i in ids1k]),
    "wordnet": vocabulary(nouns),
    "sha256OfIds": sha256(by_id),
    "sha256OfLemmas": sha256("|".join(words(synset)) for synset in nouns),
    "sha256OfParents": sha256(",".join(parents(synset)) for synset in nouns),
    "samples": [
        {"id": id_of(s), "synonyms": words(s), "parents": parents(s), "definition": s.definition()} for s in drawn
    ],
    "dog": {
        "below": len(set(dog.closure(lambda s: s.hyponyms() + s.instance_hyponyms()))),
        "below21k": len({id_of(s) for s in dog.closure(lambda s: s.hyponyms())} & {*ids21k, *ids1k}),
        "paths": sorted([words(s)[0].lower() for s in path] for path in dog.hypernym_paths()),
    },
}
OUT.write_text(json.dumps(golden, indent=1) + "\n")
