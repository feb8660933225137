"""``plateau-lens fetch``."""

from __future__ import annotations

from rich.console import Console

from plateau_lens.experiments.config import load_config


def fetch_command(source: str) -> None:
    """Load every resource once, so that each cache holds it."""
    from plateau_lens.experiments.prepare import load_resources, prepare

    config = load_config(source)
    console = Console()
    resources = load_resources(config)
    prepared = prepare(config, resources)
    found = prepared.provenance
    console.print(f"model    {found['model']['source']}", highlight=False)
    if found["sae"]:
        console.print(f"sae      {found['sae']['source']} ({found['sae']['d_sae']} latents)", highlight=False)
    console.print(f"prompts  {len(prepared.tokens)} of {prepared.tokens.shape[1]} tokens", highlight=False)
    console.print(f"{config.name} is ready, offline too.", highlight=False)
