"""A sparse autoencoder as a dictionary of latents: encode, decode, decoder directions, firing frequency."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from plateau_lens._devices import for_float64
from plateau_lens._digest import sha256
from plateau_lens._errors import ResourceError, nearest
from plateau_lens.models.refusals import not_finite

if TYPE_CHECKING:
    from sae_lens import SAE

METADATA = ("model_name", "hook_name", "context_size", "prepend_bos", "model_from_pretrained_kwargs")
"""What is kept of what SAELens records about the activations an SAE was trained on."""

DEAD_BELOW = 1e-8
"""Firing frequency under which a latent counts as dead; SAELens ships log10 values of about -10 for those."""


@dataclass(frozen=True)
class Dictionary:
    """A SAELens autoencoder behind the few operations that activation kinds need."""

    sae: SAE[Any]
    source: str
    frequency: Float[Tensor, " d_sae"] | None
    """Share of tokens on which each latent is active, 0..1, float64; None until it is measured."""
    frequency_source: str | None
    provenance: dict[str, Any]

    @property
    def d_sae(self) -> int:
        """Number of latents."""
        return self.W_dec.shape[0]

    @property
    def d_model(self) -> int:
        """Width of the residual stream it was trained on."""
        return self.W_dec.shape[1]

    @property
    def W_dec(self) -> Float[Tensor, "d_sae d_model"]:
        """Decoder directions: what a code is multiplied with."""
        return self.sae.W_dec.detach()

    @cached_property
    def bias(self) -> Float[Tensor, " d_model"]:
        """What an empty code decodes to."""
        return self.decode(self.W_dec.new_zeros(1, self.d_sae))[0]

    @cached_property
    def unit_decoder(self) -> Float[Tensor, "d_sae d_model"]:
        """Decoder directions of length 1; their products are decoder cosines. No copy where they are that already."""
        decoder = self.W_dec.float()
        off = (torch.linalg.vector_norm(decoder, dim=-1) - 1).abs().max()
        return decoder if off <= 1e-6 else torch.nn.functional.normalize(decoder, dim=-1)

    def cosines(
        self, latent: Int[Tensor, " row"], others: Int[Tensor, "row other"]
    ) -> Float[Tensor, "row other"]:
        """Decoder cosines of each latent to some others, -1..1."""
        every, place = others.unique(return_inverse=True)
        return (self.unit_decoder[latent] @ self.unit_decoder[every].T).gather(1, place)

    @cached_property
    def alive(self) -> Bool[Tensor, " d_sae"]:
        """Latents that fire at all.

        Raises:
            ResourceError: if none does, or if it is not known.
        """
        if self.frequency is None:
            raise ResourceError(
                f"{self.source!r} ships no firing frequency; measure it first (measure_frequency)"
            )
        alive = self.frequency > DEAD_BELOW
        if not alive.any():
            raise ResourceError(
                f"no latent of {self.source!r} fires (frequency {self.frequency_source}): it does not fit these "
                "activations; choose another SAE, or the site and model that it was trained on"
            )
        return alive

    @torch.no_grad()
    def encode(self, activations: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_sae"]:
        """Latent activations (the code), >= 0, in residual-stream units along each decoder direction."""
        return self.sae.encode(activations.to(self.W_dec.dtype))

    @torch.no_grad()
    def decode(self, codes: Float[Tensor, "row d_sae"]) -> Float[Tensor, "row d_model"]:
        """Residual-stream activations that the codes stand for."""
        return self.sae.decode(codes)

    def measure_frequency(self, activations: Float[Tensor, "row d_model"], *, batch: int = 128) -> Dictionary:
        """The same dictionary with the firing frequency measured on these activations."""
        fired = torch.zeros(self.d_sae, dtype=torch.float64, device=activations.device)
        for chunk in activations.split(batch):
            fired += (self.encode(chunk) > 0).sum(dim=0)
        return dataclasses.replace(
            self,
            frequency=fired / len(activations),
            frequency_source=f"measured on {len(activations)} last tokens",
        )

    def mean_cosine(self, activations: Float[Tensor, "row d_model"], *, batch: int = 1024) -> float:
        """Mean cosine of two different activations about the decoder bias, -1..1.

        Over all ordered pairs ``i != j``: ``(|sum_i u_i|^2 - N) / (N (N - 1))`` with ``u_i`` the direction of
        ``activation_i - bias``, in float64. 0.42 for GPT-2 at ``blocks.1.hook_resid_pre`` (arXiv 2409.15019v2, section
        4.3). An activation at the bias has no direction and is left out; NaN for fewer than two others.
        """
        total, n = self.bias.new_zeros(self.d_model, dtype=torch.float64), 0
        for chunk in activations.split(batch):
            apart = chunk.double() - self.bias.double()
            length = torch.linalg.vector_norm(apart, dim=-1)
            total += (apart[length > 0] / length[length > 0, None]).sum(dim=0)
            n += int((length > 0).sum())
        if n < 2:
            return float("nan")
        return float((total.square().sum() - n) / (n * (n - 1)))

    def reconstruction_error(self, activations: Float[Tensor, "row d_model"]) -> Float[Tensor, " row"]:
        """``|x - decode(encode(x))| / |x - bias|``, one an activation, from 0 for a perfect reconstruction, in float64.

        An empty code decodes to the bias and has an error of 1. NaN or infinite for an activation at the bias.
        """
        wide = activations.double()
        off = torch.linalg.vector_norm(wide - self.decode(self.encode(activations)).double(), dim=-1)
        return off / torch.linalg.vector_norm(wide - self.bias.double(), dim=-1)

    def explained_variance(self, activations: Float[Tensor, "row d_model"], *, batch: int = 128) -> float:
        """``1 - sum |x - x_hat|^2 / sum |x - mean|^2`` over rows and d_model, at most 1, in float64."""
        residual = total = 0.0
        mean = sum(chunk.double().sum(dim=0) for chunk in activations.split(batch)) / len(activations)
        for chunk in activations.split(batch):
            residual += float((self.decode(self.encode(chunk)).double() - chunk.double()).square().sum())
            total += float((chunk.double() - mean).square().sum())
        return 1 - residual / total


def load_dictionary(source: str, *, id: str | None = None, device: str = "cpu") -> Dictionary:
    """Load an autoencoder in float32.

    Args:
        source: ``bundled`` (SmolLM2-135M, blocks.1.hook_resid_pre), a local SAELens folder, or a SAELens
            release name.
        id: the SAE's id within the release.
        device: torch device; one without float64 (MPS) means the CPU.

    Raises:
        ResourceError: if it cannot be found or read, normalises activations in a way that a changed code cannot be
            decoded through, has codes that can be negative, or decodes otherwise than by ``code @ W_dec`` and a bias.
    """
    device = str(for_float64(torch.device(device)))
    if source == "bundled":
        with resources.as_file(resources.files("plateau_lens.assets").joinpath("smollm2-135m/sae")) as folder:
            return _from_folder(folder, source, device)
    if Path(source).is_dir():
        return _from_folder(Path(source), source, device)
    return _from_release(source, id, device)


def _from_folder(folder: Path, source: str, device: str) -> Dictionary:
    from plateau_lens.models.quiet import quiet

    files = [folder / "cfg.json", folder / "sae_weights.safetensors"]
    if missing := [file.name for file in files if not file.is_file()]:
        raise ResourceError(f"{folder} is not a SAELens folder: {' and '.join(missing)} missing")
    with quiet():
        from sae_lens import SAE

        try:
            sae = SAE.load_from_disk(folder, device=device, dtype="float32")
        except Exception as error:
            raise ResourceError(
                f"cannot read the SAE in {folder}: {type(error).__name__}: {error}"
            ) from error
    log10_frequency = None
    if (folder / "sparsity.safetensors").is_file():
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            log10_frequency = load_file(folder / "sparsity.safetensors").get("sparsity")
        except (SafetensorError, OSError) as error:
            raise ResourceError(
                f"cannot read the firing frequencies in {folder / 'sparsity.safetensors'}: {error}; delete the file to "
                "have them measured on the run's prompts"
            ) from error
        files.append(folder / "sparsity.safetensors")
    return _dictionary(sae, source, log10_frequency, {"sha256": {file.name: sha256(file) for file in files}})


def _from_release(release: str, id: str | None, device: str) -> Dictionary:
    from plateau_lens.models.hub import attempt
    from plateau_lens.models.quiet import quiet

    with quiet():
        from sae_lens import SAE

        at = _locate(release, id)
        what = f"the SAE {at.id!r} of {release!r}"
        # SAELens takes a failed download of the frequencies for a release without them: have them here first.
        files = _plain_files(what, at) if at.is_plain else []
        sae, _, log10_frequency = attempt(
            what, lambda: SAE.from_pretrained_with_cfg_and_sparsity(release, at.id, device=device)
        )
    record: dict[str, Any] = {"repository": at.repo}
    if files:
        # The commit is in a cached file's path: snapshots/COMMIT/FOLDER/NAME.
        record["revision"] = files[0].parents[len(Path(at.folder).parts)].name
        record["sha256"] = {file.name: sha256(file) for file in files}
    return _dictionary(sae, f"{release}/{at.id}", log10_frequency, record)


class _Location(NamedTuple):
    id: str
    repo: str
    folder: str
    is_plain: bool
    """Whether it is in SAELens' own format, not one that SAELens converts."""


def _locate(release: str, id: str | None) -> _Location:
    """Where SAELens' registry has an SAE; a name with a slash that it does not know is a repository itself."""
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    registry = get_pretrained_saes_directory()
    entry = registry.get(release)
    if entry is None and (release.count("/") != 1 or release.startswith((".", "/", "~"))):
        raise ResourceError(
            f"no SAE at {release!r}: it is neither a folder nor a SAELens release{nearest(release, registry)}; "
            "a release needs sae.id as well, for example sae.source=gpt2-small-res-jb "
            "sae.id=blocks.1.hook_resid_pre"
        )
    if id is None or (entry is not None and id not in entry.saes_map):
        ids = list(entry.saes_map) if entry is not None else ["the SAE's folder in that repository"]
        legal = ", ".join(ids[:12]) + (f" and {len(ids) - 12} more" if len(ids) > 12 else "")
        found = "needs sae.id" if id is None else f"has no SAE {id!r}{nearest(id, ids)}"
        raise ResourceError(f"the SAE release {release!r} {found}; legal: {legal}")
    if entry is None:
        return _Location(id, release, id, is_plain=True)
    is_plain = entry.conversion_func in (None, "sae_lens")
    return _Location(id, entry.repo_id, entry.saes_map[id], is_plain)


def _plain_files(what: str, at: _Location) -> list[Path]:
    """cfg, weights and, where the release has them, log10 frequencies: fetched whole."""
    from plateau_lens.models.hub import hub_file

    names = {"cfg.json": False, "sae_weights.safetensors": False, "sparsity.safetensors": True}
    found = [
        hub_file(what, at.repo, f"{at.folder}/{name}", optional=optional) for name, optional in names.items()
    ]
    return [path for path in found if path is not None]


@torch.no_grad()
def _fold_and_try(sae: SAE[Any], source: str) -> None:
    """Have the decoder be what its codes are multiplied with, and refuse an SAE of which that is not so.

    Kinds make codes of their own: they take every latent that is not above zero for silent, and ``W_dec`` for what a
    latent adds. Both are tried, on activations around the bias and on random codes; an SAE that divides its codes by
    the norms of its decoder has these folded into it first.
    """
    generator = torch.Generator().manual_seed(0)
    d_sae, d_model = sae.W_dec.shape
    codes = torch.rand((_TRIED, d_sae), generator=generator).to(sae.W_dec)
    codes *= torch.rand((_TRIED, d_sae), generator=generator).to(codes) < 0.05
    if not _is_product(sae, codes):
        with contextlib.suppress(NotImplementedError):
            sae.fold_W_dec_norm()
        if not _is_product(sae, codes):
            raise ResourceError(
                f"the SAE {source!r} ({sae.cfg.architecture()}) does not decode a code by code @ W_dec and a bias, so "
                "that what one latent adds is not its decoder direction; choose another SAE"
            )
    # Near the bias, far from it, and along decoder directions, which latents answer to.
    random = torch.randn((_TRIED, d_model), generator=generator).to(codes)
    some = torch.randint(d_sae, (_TRIED,), generator=generator).to(codes.device)
    random = torch.cat([random, sae.W_dec[some], -sae.W_dec[some]])
    activations = torch.cat([size * random for size in (1.0, 10.0, 100.0)]) + sae.b_dec
    found = sae.encode(activations)
    if (found < 0).any():
        raise ResourceError(
            f"the SAE {source!r} ({sae.cfg.architecture()}) has codes below zero (on {_TRIED} random activations "
            f"{int((found < 0).sum())} of {int((found != 0).sum())} active latents are): kinds of activation take a "
            "latent for active where it is above zero, and would see a part of its code; choose another SAE"
        )


_TRIED = 32
"""Codes, and activations of each sort, that an SAE is tried on."""


def _is_product(sae: SAE[Any], codes: Float[Tensor, "row d_sae"]) -> bool:
    """Whether ``decode(code) - decode(0)`` is ``code @ W_dec``, to 1e-4 of the largest."""
    try:
        found = sae.decode(codes) - sae.decode(torch.zeros_like(codes))
    except (RuntimeError, ValueError, AttributeError, TypeError):
        return False
    wanted = codes @ sae.W_dec
    return found.shape == wanted.shape and bool((found - wanted).abs().max() <= 1e-4 * wanted.abs().max())


def _dictionary(
    sae: SAE[Any], source: str, log10_frequency: Tensor | None, provenance: dict[str, Any]
) -> Dictionary:
    if sae.cfg.normalize_activations in ("layer_norm", "constant_norm_rescale"):
        raise ResourceError(
            f"the SAE {source!r} normalises each activation by itself ({sae.cfg.normalize_activations}): a changed "
            "code has no activation to take the scale from, so it cannot be decoded; choose another SAE"
        )
    if sae.cfg.reshape_activations != "none":
        raise ResourceError(
            f"the SAE {source!r} is of attention heads ({sae.cfg.reshape_activations}), not of the residual stream; "
            "choose an SAE of the site that is pushed"
        )
    sae.eval().requires_grad_(False)
    if broken := not_finite(sae):
        raise ResourceError(
            f"the SAE {source!r} has weights that are NaN or infinite ({broken}); fetch it again, or choose another"
        )
    try:
        sae.decode(sae.encode(torch.zeros(1, sae.cfg.d_in).to(sae.W_dec)))
    except Exception as error:  # a configuration that SAELens takes, and does not look at until here
        raise ResourceError(
            f"the SAE {source!r} encodes nothing: {type(error).__name__}: {error}; its configuration does not fit its "
            "weights: fetch it again, or choose another"
        ) from error
    if log10_frequency is not None and not bool((log10_frequency <= 1e-3).all()):
        raise ResourceError(
            f"the SAE {source!r} ships firing frequencies that are no log10 of shares (NaN, or above 0); remove the "
            "file to have them measured on the run's prompts"
        )
    _fold_and_try(sae, source)
    if log10_frequency is not None and tuple(log10_frequency.shape) != (sae.cfg.d_sae,):
        raise ResourceError(
            f"the SAE {source!r} has {sae.cfg.d_sae} latents but firing frequencies of shape "
            f"{tuple(log10_frequency.shape)}; they belong to another one"
        )
    frequency = None if log10_frequency is None else torch.pow(10.0, log10_frequency.double())
    if frequency is not None:
        frequency = frequency.where(frequency > DEAD_BELOW, 0.0)
    metadata = {key: value for key in METADATA if (value := getattr(sae.cfg.metadata, key, None)) is not None}
    record = {
        "source": source,
        "architecture": sae.cfg.architecture(),
        "d_sae": sae.cfg.d_sae,
        "d_in": sae.cfg.d_in,
        "metadata": metadata,
        **provenance,
    }
    return Dictionary(sae, source, frequency, None if frequency is None else "shipped with the SAE", record)
