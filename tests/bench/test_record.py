"""The record of a benchmark: its keys, its figures from its own samples, and what it must not tell."""

from __future__ import annotations

import json
import platform
import statistics
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from plateau_lens.bench.record import QUICK, bench
from plateau_lens.bench.targets import TARGETS, judge
from plateau_lens.bench.timing import Ratio
from plateau_lens.cli import invoke
from plateau_lens.cli.bench import print_table

RATIOS = (
    "fraction_of_limit",
    "bf16_speedup",
    "long_prompt_cost",
    "l2_only_speedup",
    "structured_vs_base_passes",
)


def median_a_curve(record: dict[str, Any], name: str) -> float:
    seconds = record["seconds"]
    rounds = zip(seconds[f"{name}/prefix"], seconds[f"{name}/curves"], strict=True)
    return statistics.median(prefix + curves for prefix, curves in rounds) / (QUICK.pairs * QUICK.kinds)


def test_it_has_the_keys_that_scripts_rely_on(quick_record: dict[str, Any]):
    assert json.loads(json.dumps(quick_record)) == quick_record
    for key in RATIOS:
        assert quick_record[key] > 0
    for key in ("vs_transformer_lens", "vs_full_forward"):
        assert quick_record[key].keys() == {"10", "128"}
        assert min(quick_record[key].values()) > 0
    assert {"seconds", "spread", "machine", "versions", "date", "settings", "model"} <= quick_record.keys()
    assert quick_record["missing"] == {}
    assert {len(samples) for samples in quick_record["seconds"].values()} == {QUICK.repeats}


def test_figures_follow_from_the_samples(quick_record: dict[str, Any]):
    seconds = quick_record["seconds"]
    ours = {n_ctx: median_a_curve(quick_record, f"ours/{n_ctx}") for n_ctx in (10, 128, 1024)}
    for n_ctx in (10, 128):
        for key, other in (("vs_transformer_lens", "transformer_lens"), ("vs_full_forward", "full_forward")):
            wanted = statistics.median(seconds[f"{other}/{n_ctx}"]) / ours[n_ctx]
            assert quick_record[key][str(n_ctx)] == pytest.approx(wanted)
    assert quick_record["long_prompt_cost"] == pytest.approx(ours[1024] / ours[10])
    bf16, l2_only = (median_a_curve(quick_record, name) for name in ("ours_bfloat16", "ours_l2_only"))
    assert quick_record["bf16_speedup"] == pytest.approx(ours[10] / bf16)
    assert quick_record["l2_only_speedup"] == pytest.approx(ours[10] / l2_only)
    limit = quick_record["limit"]
    least = limit["flops"]["total"] / max(limit["flops_a_second"].values())
    assert quick_record["fraction_of_limit"] == pytest.approx(least / ours[10])


def test_the_fraction_of_a_limit_that_is_known(monkeypatch: pytest.MonkeyPatch):
    """Products at 1 GFLOP/s at best, and curves that take a quarter longer than theirs."""
    flops = 21 * (2 * 3 * 12 * 64**2 + 4 * 3 * 64 * 10 + 2 * 64 * 500)
    curves = QUICK.pairs * QUICK.kinds

    def interleaved(works: dict[str, Any], *, rounds: int, **_: Any) -> dict[str, list[float]]:
        seconds = {name: [1.0] * rounds for name in works}
        for name, work in works.items():
            if name.startswith("product/"):
                seconds[name] = [work.flops / 0.5e9] * rounds
        fast = "product/84 x 256 x 64"
        seconds[fast] = [works[fast].flops / 1e9] * rounds
        seconds["ours/10/prefix"] = [0.25 * curves * flops / 1e9] * rounds
        seconds["ours/10/curves"] = [curves * flops / 1e9] * rounds
        return seconds

    monkeypatch.setattr("plateau_lens.bench.record.interleaved", interleaved)
    record = bench(quick=True)
    assert record["fraction_of_limit"] == pytest.approx(0.8)
    assert record["spread"]["fraction_of_limit"] == pytest.approx([0.8, 0.8])
    assert record["limit"]["best_product"] == "product/84 x 256 x 64"
    assert record["limit"]["seconds"] == pytest.approx(flops / 1e9)


def test_every_way_measures_the_same(quick_record: dict[str, Any]):
    differences = quick_record["largest_difference"]
    for way in ("transformer_lens", "full_forward"):
        assert differences[way].keys() == {"10", "128"}
        assert max(differences[way].values()) < 1e-4
    assert 0 < differences["bfloat16"]["10"] < 0.1


def test_l2_alone_computes_no_unembedding(quick_record: dict[str, Any]):
    assert quick_record["unembeddings"]["l2"] == 0
    assert quick_record["unembeddings"]["l2 and kl"] > 0


def test_it_names_no_machine_and_no_path(quick_record: dict[str, Any]):
    text = json.dumps(quick_record)
    assert f'"{platform.node()}"' not in text
    assert str(Path.home()) not in text
    assert quick_record["machine"]["processor"]


def test_targets_are_judged_by_their_bounds():
    record = {
        "vs_transformer_lens": {"10": 12.0, "128": 99.9},
        "fraction_of_limit": 0.79,
        "long_prompt_cost": None,
        "bf16_speedup": 2.5,
        "unembeddings": {"l2": 0},
        "structured_vs_base_passes": 1.01,
    }
    judged = judge(record)
    assert [row["met"] for row in judged] == [True, False, False, None, True, True, False]
    assert [row["figure"] for row in judged] == [12.0, 0.79, 99.9, None, 2.5, 0, 1.01]
    assert len(judged) == len(TARGETS)


def test_a_model_by_name_with_few_positions(tiny_model_folder: Path):
    """160 positions: nothing at 1,024 tokens, and all else as ever."""
    record = bench(str(tiny_model_folder), quick=True, repeats=1)
    assert record["settings"]["class"] == "LlamaForCausalLM"
    assert record["long_prompt_cost"] is None
    assert record["vs_transformer_lens"]["128"] > 0
    assert "ours/1024/curves" not in record["seconds"]


def test_a_model_that_transformer_lens_does_not_know(
    make_tiny_model: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    make_tiny_model("starcoder2").save_pretrained(tmp_path)
    record = bench(str(tmp_path), quick=True, repeats=1)
    assert record["vs_transformer_lens"] is None
    assert "Starcoder2ForCausalLM" in record["missing"]["vs_transformer_lens"]
    assert record["vs_full_forward"]["10"] > 0
    print_table(record, Console(width=140))
    assert "does not take Starcoder2ForCausalLM" in capsys.readouterr().out


def test_the_table_shows_every_target(quick_record: dict[str, Any], capsys: pytest.CaptureFixture[str]):
    print_table(quick_record, Console(width=140))
    shown = capsys.readouterr().out
    for row in quick_record["targets"]:
        assert row["work"] in shown
        assert f"{row['figure']:.3g}" in shown
        assert row["target"] in shown


def test_the_command_prints_json_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    out = tmp_path / "bench.json"
    assert invoke(["bench", "--quick", "--repeats", "1", "--threads", "1", "--json", "--out", str(out)]) == 0
    printed = capfd.readouterr().out
    record = json.loads(printed)
    assert out.read_text() == printed
    assert record["machine"]["threads"] == 1
    assert record["settings"]["repeats"] == 1


def test_only_what_is_asked_for_is_run_and_told_as_it_comes(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise AssertionError("TransformerLens was not asked for")

    monkeypatch.setattr("plateau_lens.bench.record.TransformerLens", refuse)
    told: list[tuple[str, Ratio]] = []
    record = bench(
        quick=True,
        only=["l2_only_speedup"],
        repeats=2,
        found=lambda name, value: told.append((name, value)),
    )
    assert [name for name, _ in told] == ["l2_only_speedup"] * 3  # warming up, and two rounds
    assert record["l2_only_speedup"] == told[-1][1].value
    works = {f"{work}/{half}" for work in ("ours/10", "ours_l2_only") for half in ("prefix", "curves")}
    assert set(record["seconds"]) == works
    assert record["fraction_of_limit"] is None
    assert record["missing"]["fraction_of_limit"] == "left out by --only"
    print_table(record, Console(width=140))


def test_what_the_time_was_too_short_for_is_null_with_the_reason():
    record = bench(quick=True, only=["structured_vs_base_passes", "l2_only_speedup"], seconds=0.0)
    for name in ("structured_vs_base_passes", "l2_only_speedup"):
        assert record[name] is None
        assert record["missing"][name].startswith("not reached in the time")


def test_a_figure_that_there_is_not_is_refused(capfd: pytest.CaptureFixture[str]):
    assert invoke(["bench", "--quick", "--only", "fraction_of_limits"]) == 1
    assert "did you mean 'fraction_of_limit'?" in capfd.readouterr().err


def test_the_command_tells_figures_as_they_come(capfd: pytest.CaptureFixture[str]):
    options = ["--only", "structured_vs_base_passes", "--repeats", "1", "--minutes", "2", "--json"]
    assert invoke(["bench", "--quick", *options]) == 0
    printed = capfd.readouterr()
    assert printed.err.count("structured_vs_base_passes: ") == 2
    assert json.loads(printed.out)["structured_vs_base_passes"] > 0


def test_a_folder_that_is_not_there_is_told_before_anything_is_measured(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    assert invoke(["bench", "--quick", "--out", str(tmp_path / "no" / "bench.json")]) == 1
    assert "there is no folder" in capfd.readouterr().err
