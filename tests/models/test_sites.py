from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from plateau_lens import ConfigError, EngineError, Site
from plateau_lens.models.sites import HOOKS, decoder_blocks
from plateau_lens.models.suffix import SuffixEngine


@pytest.mark.parametrize(
    ("name", "boundary"),
    [
        ("blocks.0.hook_resid_pre", 0),
        ("blocks.0.hook_resid_post", 1),
        ("blocks.1.hook_resid_pre", 1),
        ("blocks.11.hook_resid_post", 12),
    ],
)
def test_parse_and_print(name: str, boundary: int):
    site = Site.parse(name, n_blocks=12)
    assert str(site) == name
    assert site.boundary == boundary


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("resid_pre.3", "blocks.3.hook_resid_pre"),
        ("resid_mid.3", "blocks.3.hook_resid_mid"),
        ("resid_post.11", "blocks.11.hook_resid_post"),
        ("attn_out.0", "blocks.0.hook_attn_out"),
        ("mlp_out.last", "blocks.11.hook_mlp_out"),
        ("layers.4", "blocks.4.hook_resid_post"),
        ("model.layers.4", "blocks.4.hook_resid_post"),
        ("transformer.h.4", "blocks.4.hook_resid_post"),
    ],
)
def test_other_names_of_a_site(alias: str, name: str):
    assert str(Site.parse(alias, n_blocks=12)) == name


def test_sites_lie_along_the_stream_in_the_order_of_a_block():
    names = [f"blocks.{block}.{hook}" for block in (0, 1) for hook in HOOKS]
    # Behind block 0 and before block 1 there is one place.
    assert [Site.parse(name, n_blocks=2).depth for name in names] == [0, 1, 2, 3, 4, 4, 5, 6, 7, 8]


def test_the_last_block_goes_by_that_name():
    assert str(Site.parse("blocks.last.hook_resid_post", n_blocks=12)) == "blocks.11.hook_resid_post"
    assert Site.parse("blocks.last.hook_resid_pre", n_blocks=3).boundary == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("blocks.1.hook_z", r"unknown site 'blocks\.1\.hook_z'.*hook_attn_out"),
        ("blocks.1.resid_pre", r"did you mean 'blocks\.1\.hook_resid_pre'\?.*legal: .* with L in 0\.\.11"),
        ("block.3.hook_resid_post", r"did you mean 'blocks\.3\.hook_resid_post'"),
        ("hook_resid_post.3", r"unknown site 'hook_resid_post\.3'"),
        ("layers.12", r"site 'layers\.12' is beyond this model"),
        ("blocks.-1.hook_resid_pre", r"unknown site 'blocks\.-1\.hook_resid_pre'"),
        ("", r"unknown site ''.*legal: blocks\.L\.HOOK .*hook_resid_pre"),
        ("blocks.1.hook_resid_pre ", "unknown site"),
        ("blocks.12.hook_resid_pre", r"beyond this model, which has 12 blocks; legal: .* 0\.\.11"),
    ],
)
def test_what_is_no_site_is_told_what_is(name: str, message: str):
    with pytest.raises(ConfigError, match=message):
        Site.parse(name, n_blocks=12)


@pytest.mark.parametrize(
    ("site", "read_site"),
    [
        ("blocks.2.hook_resid_pre", "blocks.1.hook_resid_post"),
        ("blocks.2.hook_resid_pre", "blocks.0.hook_resid_pre"),
        ("blocks.3.hook_resid_pre", "blocks.2.hook_resid_post"),
        ("blocks.2.hook_mlp_out", "blocks.2.hook_resid_mid"),
        ("blocks.2.hook_attn_out", "blocks.2.hook_attn_out"),
    ],
)
def test_the_read_site_has_to_be_behind_the_site(
    site: str, read_site: str, make_tiny_model: Callable[..., Any]
):
    with pytest.raises(ConfigError, match=r"not behind the site .*up to blocks\.3\.hook_resid_post"):
        SuffixEngine(make_tiny_model("llama"), site, read_site)


@pytest.mark.parametrize(
    "architecture", ["gpt2", "gpt_neox", "llama", "opt", "mixtral", "gptj", "qwen3", "gemma3", "xglm"]
)
def test_blocks_are_found(
    architecture: str, make_tiny_model: Callable[..., Any], blocks_of: Callable[..., Any]
):
    model = make_tiny_model(architecture)
    assert decoder_blocks(model) is blocks_of(model, architecture)


def test_two_stacks_of_blocks_are_refused(make_tiny_model: Callable[..., Any]):
    model = make_tiny_model("llama")
    model.other = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(4))
    with pytest.raises(EngineError, match="LlamaForCausalLM has 2 lists of 4 blocks, expected one"):
        decoder_blocks(model)
