"""Runs in a process of its own: tries to load resources from the hub and prints what came of each, as JSON.

Reads a list of steps from stdin: ``["model", ID]``, ``["sae", REPOSITORY, ID]``, ``["prompts", {arguments}]``,
``["tell", PATH]`` to the stand-in itself. Each other leaves one entry: what was loaded, or the error's kind and text.
"""

import functools
import json
import sys
import time
import urllib.request

import torch
from huggingface_hub import constants

from plateau_lens._errors import PlateauLensError
from plateau_lens.models.sources import load_model
from plateau_lens.prompts.sources import load_prompts
from plateau_lens.saes.dictionary import load_dictionary

torch.set_num_threads(2)
constants.HF_HUB_DOWNLOAD_TIMEOUT = 0.5
pause = time.sleep
time.sleep = lambda seconds: pause(min(seconds, 0.05))  # the clients wait seconds before each further attempt


def model(name):
    loaded = load_model(name)
    return {
        "sum": sum(float(p.double().abs().sum()) for p in loaded.model.parameters()),
        "tokens": loaded.tokenizer.encode("a b") if loaded.tokenizer else None,
        "revision": loaded.revision,
        "sha256": loaded.provenance()["sha256"],
    }


def sae(repository, id):
    found = load_dictionary(repository, id=id)
    return {
        "sum": float(found.W_dec.double().abs().sum()),
        "frequency": None if found.frequency is None else found.frequency.tolist(),
        "provenance": found.provenance,
    }


any_model = functools.cache(load_model)


def prompts(arguments):
    found = load_prompts(any_model(arguments.pop("model")), **{"at_least": 2, "seed": 0, **arguments})
    return {"tokens": found.tokens.tolist(), "text": found.text[0], "provenance": found.provenance}


def tell(path):
    urllib.request.urlopen(constants.ENDPOINT + path).read()


STEPS = {"model": model, "sae": sae, "prompts": prompts, "tell": tell}

outcomes = []
for name, *arguments in json.load(sys.stdin):
    try:
        found = STEPS[name](*arguments)
    except PlateauLensError as error:
        found = {"error": type(error).__name__, "text": str(error)}
    if name != "tell":
        outcomes.append(found)
sys.stdout.write(json.dumps(outcomes))
