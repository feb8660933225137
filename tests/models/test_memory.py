"""Work is cut to fit memory, and cut again where it did not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from plateau_lens import ResourceError, SuffixEngine
from plateau_lens.models import memory
from plateau_lens.models.memory import in_pieces, rows_a_pass

CPU = "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"


def covered(n: int, size: int, work: Callable[[slice], Any]) -> list[tuple[int, int]]:
    done: list[tuple[int, int]] = []

    def noting(piece: slice) -> None:
        work(piece)
        done.append((piece.start, piece.stop))

    for _ in in_pieces(n, size, noting):
        pass
    return done


def test_pieces_cover_everything_once():
    assert covered(7, 3, lambda _: None) == [(0, 3), (3, 6), (6, 7)]


@pytest.mark.parametrize(
    "error", [RuntimeError(CPU), torch.cuda.OutOfMemoryError("CUDA out of memory."), MemoryError()]
)
def test_a_piece_too_large_is_halved_and_tried_again(error: Exception):
    def fits_three(piece: slice) -> None:
        if piece.stop - piece.start > 3:
            raise error

    assert covered(10, 8, fits_three) == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]


def test_another_error_is_none_of_its_business():
    with pytest.raises(RuntimeError, match="shape"):
        covered(4, 2, lambda _: (_ for _ in ()).throw(RuntimeError("shape mismatch")))


def test_too_little_for_one_is_said_in_one_message():
    def never(_: slice) -> None:
        raise RuntimeError(CPU)

    with pytest.raises(ResourceError, match="not memory enough for a single prompt"):
        covered(4, 4, never)


def test_an_engine_out_of_memory_goes_on_with_less(make_tiny_model: Callable[..., Any]):
    model = make_tiny_model("llama").double()
    engine = SuffixEngine(model)
    tokens = torch.randint(5, 200, (6, 8), generator=torch.Generator().manual_seed(2))
    base = engine.site_activations(tokens)
    points = torch.stack([base, base.roll(1, 0), 2 * base], dim=1)
    wanted = engine.respond(engine.prefix(tokens), points)
    sizes: list[int] = []

    def limited(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        rows = (args[0] if args else kwargs["hidden_states"]).shape[0]
        sizes.append(rows)
        if rows > 2:
            raise RuntimeError(CPU)

    handle = engine.blocks[2].register_forward_pre_hook(limited, with_kwargs=True)
    found = engine.respond(engine.prefix(tokens), points)
    handle.remove()
    assert max(sizes) == 6
    for name, values in wanted.items():
        torch.testing.assert_close(found[name], values, rtol=0, atol=1e-12)


def test_rows_follow_free_memory(monkeypatch: pytest.MonkeyPatch):
    cpu = torch.device("cpu")
    assert 1 <= rows_a_pass(cpu, 1000) <= memory.MOST_ROWS["cpu"]
    monkeypatch.setattr(memory, "free_bytes", lambda _: 4000)
    assert rows_a_pass(cpu, 10) == 100
    assert rows_a_pass(cpu, 10**9) == 1
