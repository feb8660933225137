"""Responses describe themselves, are made from tables, and need no torch to be read about."""

from __future__ import annotations

import subprocess
import sys

import pytest

from plateau_lens import ConfigError
from plateau_lens.responses.kl import KL
from plateau_lens.responses.l2 import L2
from plateau_lens.responses.registry import RESPONSES, Response, asked_for


def test_what_they_say_of_themselves_needs_no_torch():
    code = (
        "import sys\nfrom plateau_lens.responses.registry import RESPONSES\n"
        "print([(name, known.symbol, known.axis) for name, known in RESPONSES.all().items()])\n"
        "RESPONSES.make({'l2': {}, 'mid': {'response': 'l2', 'site': 'blocks.3.hook_resid_post'}})\n"
        "print([name for name in ('torch', 'transformers', 'jaxtyping') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told, loaded = done.stdout.strip().splitlines()
    assert told.startswith("[('l2', 'L2', 'L2 at read site (units)'), ('kl', 'KL',")
    assert loaded == "[]"


def test_each_says_what_a_figure_needs():
    for name, known in RESPONSES.all().items():
        made = known()
        assert made.short
        assert made.heading != made.short
        assert made.y_label
        assert known.reads in ("state", "final", "logits")
        assert made.name == name
        assert known.__doc__


def test_a_bare_one_has_words_for_itself_too():
    class Bare(Response):
        pass

    class Counted(Bare):
        unit = "apples"

    Bare.name = Counted.name = "bare"
    assert (Bare().short, Bare().heading, Bare().y_label) == ("BARE", "BARE", "BARE")
    assert Counted().y_label == "BARE (apples)"
    assert Bare().read_site == "auto"


def test_a_label_may_be_of_one_name():
    made = RESPONSES.make({"l2": {}, "mid": {"response": "l2", "site": "blocks.3.hook_resid_post"}})
    assert made == {"l2": L2(), "mid": L2(site="blocks.3.hook_resid_post")}
    assert [each.read_site for each in made.values()] == ["auto", "blocks.3.hook_resid_post"]


def test_names_and_made_ones_are_both_asked_for():
    assert asked_for(("kl", "l2")) == {"kl": KL(), "l2": L2()}
    assert list(asked_for(["kl", "l2"])) == ["kl", "l2"]
    made = {"mid": L2(site="blocks.3.hook_resid_post")}
    assert asked_for(made) == made
    with pytest.raises(ConfigError, match="'l3'; did you mean 'l2'") as raised:
        asked_for(("l3", "ks"))
    assert "'ks'" in str(raised.value)
