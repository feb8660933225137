"""Write `docs/architectures.md` from the table that the tests go through, `tests/architectures.py`.

Run it after a change there; a test fails while the page is stale:

    python scripts/document_architectures.py
"""

import sys
from pathlib import Path

from transformers.models.auto import modeling_auto

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from architectures import ARCHITECTURES, EXACT, FLOAT32, REFUSED, UPCAST, Architecture  # noqa: E402

PAGE = ROOT / "docs" / "architectures.md"

HEAD = f"""<!-- Made by scripts/document_architectures.py from tests/architectures.py; a test fails if it is stale. -->
# Architectures

Nothing in the engine is written for one of them: it learns what a model is like from the model, and refuses what it
would get wrong. So the first list is not what is supported, but what the tests prove. On your own model,

```bash
plateau-lens check MODEL   # hub id, local folder or wheel; --dtype float64, --site ... as you will run it
```

proves or refuses the same.

## Proved against the full pass

{len(ARCHITECTURES)} models: random weights, 4 blocks, 12-token prompts and a sliding window of 5 where there is one.
Every curve of the engine is held against a loop that runs each step as a whole prompt through the unmodified model
and shares no code with the engine. The largest difference allowed, as a share of the curve's own largest value:

* in float32, at each of three pairs of sites,
  {FLOAT32["l2"]:.0e} for L2, {FLOAT32["kl"]:.0e} for KL and {FLOAT32["js"]:.0e} for JS;
* in float64, for L2 and KL, what the table says: {EXACT:.0e}, or
  {UPCAST:.0e} where transformers computes a softmax, a router or a rotation in float32 all the same.

*Centred*: `centre: auto` subtracts the mean over d_model at the site and where L2 is read (LayerNorm models, from
block 1 on). *Attention*: `steps` is the engine's own function, which scores a step against the prefix and itself;
`mask` is the model's own attention under a plain mask of prefix and diagonal, slower with many steps.

| model type | class | known as | what is special | float64 | centred | attention |
|---|---|---|---|---|---|---|
"""

REFUSED_HEAD = """
## Refused

With one message that says why, before anything is measured.

| model type | class | known as | why |
|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    lines = [
        f"| `{row.model_type}` | `{_class(row.model_type)}` | {row.known} | {row.special} | {_float64(row)} | "
        f"{'yes' if row.centred else 'no'} | {'mask' if row.own_attention else 'steps'} |\n"
        for row in sorted(ARCHITECTURES.values(), key=lambda row: row.model_type)
    ]
    refused = [
        f"| `{row.model_type}` | `{_class(row.model_type)}` | {row.known} | {row.why} |\n"
        for row in REFUSED.values()
    ]
    return HEAD + "".join(lines) + REFUSED_HEAD + "".join(refused)


def _float64(row: Architecture) -> str:
    return "does not run" if row.float64 is None else f"{row.float64:.0e}"


def _class(model_type: str) -> str:
    """Its class for text generation; an encoder-decoder's is the one with the encoder."""
    decoders = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return (decoders | modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES)[model_type]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
