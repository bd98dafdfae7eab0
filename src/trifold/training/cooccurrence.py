"""Where a small model may start from: the meaning of tokens, counted instead of learned.

Which tokens stand near which is known after one pass over the text. The positive pointwise mutual information of two
tokens,

    log p(a, b) - log q(a) - log q(b),  where positive, with q proportional to count ** 0.75,

factored into d_model dimensions, gives word vectors as good as trained ones (Levy and Goldberg 2014; Levy, Goldberg and
Dagan 2015). A masked model of a few million weights needs an hour to find them by gradients; counting takes a minute.

Axes: V vocab_size, D d_model.
"""

import math
import warnings
from collections.abc import Iterable
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from trifold.model import Transformer

__all__ = ["Documents", "count_pairs", "embed_by_cooccurrence", "token_vectors"]

WINDOW = 5
"""Tokens that count as near, on each side; one at distance d counts 1/d."""

MOST_TOKENS = 20_000_000
"""Of all stores together; more text moves the vectors little."""

CHUNK = 2_000_000
SMOOTHING = 0.75
sparse = partial(torch.sparse_coo_tensor, check_invariants=False)
SPREAD = 0.3
"""Standard deviation of the vectors: large enough that training polishes them rather than washing them away."""


@runtime_checkable
class Documents(Protocol):
    """What is asked of a token store."""

    @property
    def num_documents(self) -> int:
        """Documents."""
        ...

    @property
    def num_tokens(self) -> int:
        """Tokens of all documents."""
        ...

    def document(self, index: int) -> NDArray[np.int64]:
        """The ids of one document."""
        ...


def count_pairs(pieces: Iterable[NDArray[np.int64]], vocab_size: int) -> Float[Tensor, "vocab vocab"]:
    """How often two tokens stand near one another, weighted by nearness: a sparse symmetric matrix in float32.

    Args:
        pieces: texts as ids; pairs do not reach across from one to the next.
        vocab_size: rows and columns.

    Example:
        >>> count_pairs([np.array([0, 1, 1])], 2).to_dense()
        tensor([[0.0000, 1.5000],
                [1.5000, 2.0000]])
    """
    shape, none = (vocab_size, vocab_size), torch.empty(2, 0, dtype=torch.int64)
    total = sparse(none, torch.empty(0), shape)
    for ids in _chunks(pieces):
        for distance in range(1, WINDOW + 1):
            pair = np.stack([ids[:-distance], ids[distance:]])
            pair = torch.from_numpy(pair[:, (pair >= 0).all(0)])
            near = torch.full((pair.shape[1],), 1.0 / distance)
            total = (total + sparse(pair, near, shape)).coalesce()
    return (total + total.t()).coalesce()


def _chunks(pieces: Iterable[NDArray[np.int64]]) -> Iterable[NDArray[np.int64]]:
    """Many pieces in one array, each followed by enough -1 to keep it apart from the next."""
    waiting: list[NDArray[np.int64]] = []
    gap, size = np.full(WINDOW, -1, dtype=np.int64), 0
    for piece in pieces:
        waiting += [np.asarray(piece, dtype=np.int64), gap]
        size += len(piece) + WINDOW
        if size >= CHUNK:
            yield np.concatenate(waiting)
            waiting, size = [], 0
    if waiting:
        yield np.concatenate(waiting)


def token_vectors(
    pairs: Float[Tensor, "vocab vocab"], d_model: int, *, rounds: int = 4
) -> Float[Tensor, "vocab d_model"]:
    """The leading eigenvectors of the positive pointwise mutual information, each times the root of its eigenvalue.

    Found by subspace iteration (Halko, Martinsson and Tropp 2011, algorithm 4.4). Tokens that never occur get zeros.

    Args:
        pairs: counts, sparse and symmetric.
        d_model: how many dimensions; at most V.
        rounds: of the iteration.

    Example:
        >>> texts = [np.array([0, 2]), np.array([1, 2]), np.array([3, 4])] * 9
        >>> vectors = token_vectors(count_pairs(texts, 5), 2)
        >>> torch.cosine_similarity(vectors[0], vectors[1], dim=0).item() > 0.99
        True
    """
    information = _information(pairs)
    generator = torch.Generator().manual_seed(0)
    width = min(d_model + 32, len(information))
    basis = torch.linalg.qr(information @ torch.randn(len(information), width, generator=generator))[0]
    for _ in range(rounds):
        basis = torch.linalg.qr(information @ basis)[0]
    values, turned = torch.linalg.eigh(basis.t() @ (information @ basis))
    largest = values.abs().argsort(descending=True)[:d_model]
    return basis @ turned[:, largest] * values[largest].abs().sqrt()


def _information(pairs: Float[Tensor, "vocab vocab"]) -> Float[Tensor, "vocab vocab"]:
    """Positive pointwise mutual information, sparse by rows."""
    first, second = pairs.indices()
    counts = torch.zeros(len(pairs)).index_add_(0, first, pairs.values())
    smoothed = counts**SMOOTHING
    chance = (smoothed / smoothed.sum().clamp(min=1e-30)).clamp(min=1e-30).log()
    values = (pairs.values() / pairs.values().sum()).log() - chance[first] - chance[second]
    kept = values > 0
    information = sparse(pairs.indices()[:, kept], values[kept], pairs.shape).coalesce()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch calls the format a beta; its product is five times as fast
        return information.to_sparse_csr()


@torch.no_grad()
def embed_by_cooccurrence(model: Transformer, stores: Iterable[Documents]) -> int:
    """Fill a model's token embedding with `token_vectors` of a text, and the bias of its output with the frequencies.

    Where a norm stands before a tied output, and what the embedding gives is normed too, the vectors get a spread of 0.3
    and the norm before the output is turned down by as much, so that the first logits stay small; elsewhere they keep the
    spread of the random weights.

    Args:
        model: changed in place.
        stores: the text.

    Returns:
        How many tokens were counted.
    """
    table, head = model.embedding.tokens.weight, model.head
    pieces = list(_pieces(stores))
    counts = torch.from_numpy(np.bincount(np.concatenate(pieces), minlength=len(table)))
    vectors = token_vectors(count_pairs(pieces, len(table)), min(table.shape[1], len(table)))
    usual = spread = table.std().item()
    norm = _norm_before_output(model)
    if norm is not None:
        spread = SPREAD
        norm.weight.mul_(usual / spread)
    known = vectors.norm(dim=1) > 0
    table.mul_(spread / usual)
    if known.any():  # a text that says one thing over and over tells no token from another
        table[known, : vectors.shape[1]] = vectors[known] * (spread / vectors[known].std().item())
    if head.output.bias is not None:
        head.output.bias.copy_(((counts + 0.5) / (counts + 0.5).sum()).log())
    return int(counts.sum())


def _norm_before_output(model: Transformer) -> nn.LayerNorm | nn.RMSNorm | None:
    """The norm whose weights can make up for larger vectors of tokens; None where there is none."""
    config, main = model.config, model.decoder if model.encoder is None else model.encoder
    if config.embedding.norm is not None:
        norm = model.head.norm
    elif config.encoder is None and config.head.tied and config.embedding.scale == 1.0 and main is not None:
        norm = main.final_norm  # each block norms what it reads
    else:
        norm = None
    return norm if isinstance(norm, nn.LayerNorm | nn.RMSNorm) else None


def _pieces(stores: Iterable[Documents]) -> Iterable[NDArray[np.int64]]:
    """Whole documents until there are enough tokens, as many from each store as it has."""
    stores = list(stores)
    share = min(1.0, MOST_TOKENS / max(sum(store.num_tokens for store in stores), 1))
    for store in stores:
        left = math.ceil(share * store.num_tokens)
        for index in range(store.num_documents):
            if left <= 0:
                break
            document = store.document(index)[:left]
            left -= len(document)
            yield document
