"""``plateau-lens fetch``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plateau_lens.cli.terminal import terminal
from plateau_lens.runs.config import load_config


def fetch_command(source: str) -> None:
    """Load every resource once, so that each cache holds it; say beforehand what a run would be refused for."""
    from plateau_lens.execution.prepare import load_resources, prepare

    config = load_config(source)
    say = terminal().print

    prepared = prepare(config, load_resources(config), force=True)
    found = prepared.provenance
    say(f"model    {found['model']['source']}{_at(found['model'])}")
    if found["sae"]:
        say(f"sae      {found['sae']['source']}{_at(found['sae'])} ({found['sae']['d_sae']} latents)")
    prompts = found["prompts"]
    say(
        f"prompts  {len(prepared.tokens)} of {prepared.tokens.shape[1]} tokens, {prompts['source']}{_at(prompts)}"
    )
    for line in prepared.fit.lines() if prepared.fit else ():
        say(line)
    say(f"{config.name} is ready, offline too.")


def _at(record: Mapping[str, Any]) -> str:
    return f" at {record['revision']}" if record.get("revision") else ""
