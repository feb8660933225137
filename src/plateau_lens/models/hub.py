"""The Hugging Face hub: files fetched whole and checked, passing failures retried, every failure one message."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from plateau_lens._digest import sha256
from plateau_lens._errors import PlateauLensError, ResourceError

WAITS = (1.0, 2.0, 4.0)
"""Seconds before each further attempt at what may pass by itself: a busy server, a body cut short."""

WEIGHTS = (
    re.compile(r"model(-\d+-of-\d+)?\.safetensors"),
    re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin"),
)
"""Weight files, the preferred format first."""
_BESIDE_WEIGHTS = re.compile(r".*\.(json|txt|jinja|model|tiktoken)")

T = TypeVar("T")


class HubUnreachableError(ResourceError):
    """The hub did not answer, or answered that it cannot at present; what is cached may still do."""


def attempt(what: str, action: Callable[[], T]) -> T:
    """Run what reaches the hub, again where the failure may pass.

    Args:
        what: the resource for messages, e.g. ``the model 'gpt2'``.
        action: leaves nothing half-done behind when it fails.

    Raises:
        ResourceError: one message with what, why and the remedy; `HubUnreachableError` where the hub is at fault.
    """
    waits = iter(WAITS)
    while True:
        try:
            return action()
        except PlateauLensError:
            raise
        except Exception as error:
            wait = next(waits, None)
            if wait is None or not _may_pass(error):
                raise explained(what, error) from error
        time.sleep(wait)


def offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids the network."""
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE


def model_folder(repo: str, revision: str | None) -> Path:
    """Local snapshot folder of a model, with its configuration, tokenizer and weights; named by its commit.

    Without the network it is what the cache holds. Weights come last, so a snapshot that has them has the rest.

    Raises:
        ResourceError: if it does not exist, cannot be had, or is damaged.
    """
    from huggingface_hub import HfApi, constants, try_to_load_from_cache

    what = f"the model {repo!r}"
    names: list[str] = []
    if not offline():
        try:
            info = attempt(
                what,
                lambda: HfApi().model_info(repo, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT),
            )
            names = _needed([file.rfilename for file in info.siblings or []])
            if "config.json" not in names:
                raise ResourceError(f"{what} on {constants.ENDPOINT} has no config.json: it is not a model")
        except HubUnreachableError:
            if not isinstance(try_to_load_from_cache(repo, "config.json", revision=revision), str):
                raise
    for name in names:
        hub_file(what, repo, name, revision=revision)
    cached = try_to_load_from_cache(repo, "config.json", revision=revision)
    if not isinstance(cached, str):
        raise ResourceError(_not_cached(what))
    folder = Path(cached).parent
    if not any(pattern.fullmatch(file.name) for file in folder.iterdir() for pattern in WEIGHTS):
        raise ResourceError(
            f"{what} has no weights in the cache ({folder}): its download was cut short; {_ONLINE_FIRST}"
            if not names
            else f"{what} has neither safetensors nor pytorch_model.bin weights on {constants.ENDPOINT}"
        )
    for file in folder.iterdir():
        if file.is_file() and _damaged(file):
            raise ResourceError(_damaged_message(what, file))
    return folder


def hub_file(
    what: str, repo: str, name: str, *, revision: str | None = None, optional: bool = False
) -> Path | None:
    """Cached path of one file of a model repository, fetched if need be, its bytes checked.

    Args:
        what: the resource for messages.
        repo: repository id.
        name: path inside the repository.
        revision: branch, tag or commit.
        optional: None for a file that the repository is known not to have; otherwise that is an error.

    Raises:
        ResourceError: if it cannot be had, or comes damaged twice.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError

    def fetch(force: bool = False) -> Path | None:
        try:
            return Path(hf_hub_download(repo, name, revision=revision, force_download=force))
        except RemoteEntryNotFoundError:
            if optional:
                return None
            raise
        except LocalEntryNotFoundError:
            # Neither a path nor None: the cache remembers that the repository has no such file.
            known = try_to_load_from_cache(repo, name, revision=revision)
            if optional and known is not None and not isinstance(known, str):
                return None
            raise

    path = attempt(what, fetch)
    if path is not None and _damaged(path) and not offline():
        path = attempt(what, lambda: fetch(force=True))
    if path is not None and _damaged(path):
        raise ResourceError(_damaged_message(what, path))
    return path


def dataset_commit(repo: str, revision: str | None) -> str:
    """Commit that a dataset's branch, tag or (null) default branch points to now."""
    from huggingface_hub import HfApi, constants

    info = attempt(
        f"the dataset {repo!r}",
        lambda: HfApi().dataset_info(repo, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT),
    )
    assert info.sha is not None
    return info.sha


def explained(what: str, error: BaseException) -> ResourceError:
    """The error a user sees for whatever a hub client raised."""
    from huggingface_hub import constants

    endpoint = constants.ENDPOINT
    kinds = {cls.__name__ for link in _chain(error) for cls in type(link).__mro__}
    gated = any(
        "gated" in str(link).lower() for link in _chain(error) if "DatasetNotFoundError" in _names(link)
    )
    status = _status(error)
    if "OfflineModeIsEnabled" in kinds or (
        offline() and kinds & {"LocalEntryNotFoundError", "ConnectionError"}
    ):
        return ResourceError(_not_cached(what))
    if "GatedRepoError" in kinds or gated:
        return ResourceError(
            f"{what} is gated on {endpoint}: accept its terms on its page there, then log in with `hf auth login` "
            "or set HF_TOKEN"
        )
    if "RevisionNotFoundError" in kinds:
        return ResourceError(
            f"{what} has no such revision on {endpoint}; legal: a branch, tag or commit of it"
        )
    if kinds & {"RepositoryNotFoundError", "DatasetNotFoundError"}:
        return ResourceError(
            f"{what} is not on {endpoint}, or is private: check the name, or log in with `hf auth login` or HF_TOKEN"
        )
    if "RemoteEntryNotFoundError" in kinds:
        return ResourceError(f"{what} on {endpoint} lacks {_file_of(error)}: it is not laid out as expected")
    if status in (401, 403):
        return ResourceError(
            f"{what}: {endpoint} refuses access (HTTP {status}); log in with `hf auth login` or set HF_TOKEN"
        )
    if status is not None and status >= 400:
        return HubUnreachableError(
            f"{what} cannot be fetched: {endpoint} answers HTTP {status}; try again later: what is already here "
            "is kept"
        )
    if "TimeoutException" in kinds:
        return HubUnreachableError(
            f"{what} cannot be fetched: {endpoint} stayed silent for {constants.HF_HUB_DOWNLOAD_TIMEOUT} s, several "
            "times; run again to go on where it stopped, or raise HF_HUB_DOWNLOAD_TIMEOUT (seconds)"
        )
    if _cut_short(error):
        return HubUnreachableError(
            f"{what} cannot be fetched: {endpoint} cut the download short, several times; nothing incomplete is "
            "used; run again to go on where it stopped"
        )
    if kinds & {"TransportError", "ConnectionError"}:
        return HubUnreachableError(
            f"{what} cannot be fetched: no connection to {endpoint} ({_last_line(error)}); check the network, "
            "HF_ENDPOINT and the proxy, or use what is cached with HF_HUB_OFFLINE=1"
        )
    if "ArrowInvalid" in kinds:
        return ResourceError(
            f"what arrived of {what} is damaged ({_last_line(error)}); nothing of it is kept, run again"
        )
    return ResourceError(f"{what} cannot be loaded: {_last_line(error)}")


_ONLINE_FIRST = "run `plateau-lens fetch` with the network once"


def _not_cached(what: str) -> str:
    return f"{what} is not in the cache, and HF_HUB_OFFLINE forbids fetching it; {_ONLINE_FIRST}"


def _damaged_message(what: str, path: Path) -> str:
    return (
        f"{what}: the cached {path.name} is damaged (its digest is not the one the hub gave it); delete "
        f"{path.resolve()} and {_ONLINE_FIRST}"
    )


def _needed(names: list[str]) -> list[str]:
    """Files that transformers may read, of the preferred weight format only; weights last."""
    at_root = [name for name in names if "/" not in name]
    formats = [[name for name in at_root if pattern.fullmatch(name)] for pattern in WEIGHTS]
    weights = next((found for found in formats if found), [])
    return sorted(name for name in at_root if _BESIDE_WEIGHTS.fullmatch(name)) + sorted(weights)


def _damaged(path: Path) -> bool:
    """Whether a cached file's bytes differ from its name in the cache: a sha256, or git's sha1 of a small file."""
    digest = path.resolve().name
    if re.fullmatch(r"[0-9a-f]{64}", digest):
        return sha256(path) != digest
    if re.fullmatch(r"[0-9a-f]{40}", digest):
        content = path.read_bytes()
        return (
            hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() != digest
        )
    return False


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from, outermost first."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def _names(error: BaseException) -> set[str]:
    return {cls.__name__ for cls in type(error).__mro__}


def _status(error: BaseException) -> int | None:
    """HTTP status of the innermost answer, if there was one."""
    found = [
        status
        for link in _chain(error)
        if isinstance(status := getattr(getattr(link, "response", None), "status_code", None), int)
    ]
    return found[-1] if found else None


def _cut_short(error: BaseException) -> bool:
    return any(
        "RemoteProtocolError" in _names(link) or "Consistency check failed" in str(link)
        for link in _chain(error)
    )


def _may_pass(error: BaseException) -> bool:
    # Time-outs are not here: the client has waited and retried several times before it raises one.
    status = _status(error)
    return status in (408, 429) or (status is not None and status >= 500) or _cut_short(error)


def _file_of(error: BaseException) -> str:
    found = re.search(r"/resolve/[^/]+/(\S+?)[.\s]*(\n|$)", str(error))
    return repr(found[1]) if found else "a file"


def _last_line(error: BaseException) -> str:
    """First line of the innermost error: the one nearest to the cause."""
    *_, innermost = _chain(error)
    return (str(innermost).strip().splitlines() or [type(innermost).__name__])[0]
