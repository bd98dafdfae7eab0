"""Text from a model with a decoder: greedy, sampled or by beam search, for many prompts at once."""

import secrets
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trifold.checkpoint.hugging_face import find_folder
from trifold.errors import UsageError
from trifold.generation.config import Sampling
from trifold.generation.decoding import Decoding, check_finite
from trifold.generation.output import Generation, Growing, StreamedToken, shown
from trifold.generation.owed import Owed
from trifold.generation.rules import Rules, read_rules
from trifold.generation.sampling import Sampler
from trifold.generation.search import search
from trifold.model import Transformer
from trifold.presets.pretrained import Transformer as Pretrained
from trifold.presets.pretrained import resolve
from trifold.text import Framing, Tokenizer

__all__ = ["Generator", "evaluating"]

DEFAULT_TOKENS = 256
TOGETHER = 128
"""Prompts that are worked on at once: beyond, nothing is gained."""
ROOM, KEPT = 2**31, 4
"""Bytes that keys and values may take, and those of each number of theirs."""
PRIMING = 16
"""Last tokens of the prompt shown to the text decoder, so that it knows whether a space must follow."""


_MODES = threading.Lock()
_EVALUATING: WeakKeyDictionary[nn.Module, tuple[int, list[nn.Module]]] = WeakKeyDictionary()
"""How many threads use a model, and which of its parts were training before."""


@contextmanager
def evaluating(model: Transformer) -> Iterator[None]:
    """Switch dropout off, and back on where it was on when no thread uses the model any more (it may be in training)."""
    with _MODES:
        users, modes = _EVALUATING.get(model, (0, []))
        if not users:
            modes = [module for module in model.modules() if module.training]
            model.eval()
        _EVALUATING[model] = (users + 1, modes)
    try:
        yield
    finally:
        with _MODES:
            users, modes = _EVALUATING.pop(model)
            if users > 1:
                _EVALUATING[model] = (users - 1, modes)
            for module in modes if users == 1 else ():
                module.training = True


class Generator:
    """A model and its tokenizer, ready to write.

    The same prompt with the same seed gives the same text whatever else is in the batch (float32).

    Args:
        model: a model with a decoder; it computes in the number format and on the device that its weights have.
        tokenizer: the tokenizer that it was trained with.
        start: token that the decoder begins with; None for what the tokenizer puts before a text or, with an encoder,
            padding.
        ends: tokens that end a text; None for the tokenizer's.
        prefix: whether the prompt is read in both directions (a prefix language model).
        rules: how the model is meant to write, where nothing else is asked for.
        carried: tokens that are written once where a prompt has them, and never where it has not.

    Raises:
        UsageError: a model without decoder, or a tokenizer with more tokens than the model.

    Example:
        >>> from trifold.text import train_tokenizer
        >>> tokenizer = train_tokenizer(["to be or not to be"], kind="character", vocab_size=32, num_sentinels=2)
        >>> model = Pretrained.from_preset("gpt2", size="tiny", vocab_size=tokenizer.vocab_size)
        >>> generator = Generator(model, tokenizer, ends=())
        >>> made = generator.generate(["to", "not to b"], Sampling(max_tokens=5, seed=1))
        >>> [len(text.ids) for text in made], made[0].finish_reason
        ([5, 5], 'length')
        >>> "".join(generator.stream("to", Sampling(max_tokens=5, seed=1))) == made[0].text
        True
    """

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        *,
        start: int | None = None,
        ends: Collection[int] | None = None,
        prefix: bool = False,
        rules: Rules | None = None,
        carried: Collection[int] = (),
    ) -> None:
        if model.config.decoder is None:
            raise UsageError("generation.no_decoder")
        known, special = model.config.vocab_size, tokenizer.special
        if tokenizer.vocab_size > known:
            raise UsageError("generation.vocabulary", tokenizer=tokenizer.vocab_size, model=known)
        self.model, self.tokenizer, self.prefix, self.carried = model, tokenizer, prefix, carried
        paired = model.config.encoder is not None
        self.framing = tokenizer.framing_for(encoder=paired, decoder=True)
        if start is not None and not paired:
            self.framing = Framing(first=(start,))
        first = getattr(special, model.config.start)
        usual = first if paired and first is not None else special.bos
        self.rules = rules or Rules()
        self.start = next((one for one in (start, self.rules.start, usual) if one is not None), None)
        own = () if special.eos is None else (special.eos,)
        self.ends = frozenset(own if ends is None else ends)
        self.longest = model.context if isinstance(model, Pretrained) else model.config.max_length

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> "Generator":
        """A generator from a run, a Hugging Face folder, or the hub (`owner/name`), with the tokenizer found there.

        Args:
            path: where it is.
            dtype: number format to compute in; bfloat16 is faster where the machine has it, and less exact.
            device: where to compute.
            revision: branch, tag or commit on the hub; None for the newest.
            local_files_only: never ask the network.

        Raises:
            ModelFileError: the model or the tokenizer is missing or damaged.
            UsageError: the model has no decoder.
        """
        folder = resolve(find_folder(str(path), revision=revision, local_files_only=local_files_only))
        model, tokenizer = Pretrained.from_pretrained(folder, dtype=dtype), Tokenizer.from_pretrained(folder)
        return cls.by_rules(model.to(device), tokenizer)

    @classmethod
    def by_rules(cls, model: Pretrained, tokenizer: Tokenizer) -> "Generator":
        """A generator for a model that writes as its folder says.

        Raises:
            UsageError: the model has no decoder.
        """
        rules = read_rules(model.generation)
        ends = rules.ends or (tokenizer.special.eos, model.special.get("eos"))
        return cls(model, tokenizer, ends={end for end in ends if end is not None}, rules=rules)

    @property
    def usual(self) -> Sampling:
        """How it writes where nothing is asked for."""
        return Sampling(**self.rules.sampling)

    def generate(
        self,
        prompts: str | Sequence[str | Sequence[int]],
        sampling: Sampling | None = None,
        *,
        seeds: Sequence[int] | None = None,
        batch_size: int | None = None,
        special: bool = False,
    ) -> list[Generation]:
        """Continue each prompt; with an encoder, answer each source.

        Args:
            prompts: the texts, or token ids, which are used as they are.
            sampling: how to choose tokens; None for what the model's folder says, else `Sampling()`.
            seeds: a seed for each prompt, in place of the one of `sampling`.
            batch_size: how many prompts are worked on at once; None for `TOGETHER`, and fewer where their keys and values
                would take more than `ROOM`.
            special: read the spelling of a special token in a prompt, such as `</s>`, as that token and not as text.

        Returns:
            One generation for each prompt, in order.

        Raises:
            UsageError: a prompt that is empty or too long, or seeds that do not match the prompts.
            NonFiniteError: the model gave something that is not a number.
        """
        texts, options = [prompts] if isinstance(prompts, str) else list(prompts), sampling or self.usual
        whole = [self.encode(text, number, special=special) for number, text in enumerate(texts, 1)]
        rows = [self._fit(row, options) for row in whole]
        limits = [self._limit(row, options) for row in rows]
        seeds = self._seeds(options, seeds, len(rows))
        order = sorted(range(len(rows)), key=lambda number: len(rows[number]))  # alike lengths need little padding
        generations: dict[int, Generation] = {}
        while order:
            tokens = [(len(rows[number]) + limits[number]) * options.beams for number in order[:TOGETHER]]
            size = self._at_once(tokens) if batch_size is None else batch_size
            chosen, order = order[:size], order[size:]
            batch = [rows[n] for n in chosen], [limits[n] for n in chosen], [seeds[n] for n in chosen]
            generations |= zip(chosen, self._batch(*batch, options), strict=True)
        cuts = [len(before) - len(row) for before, row in zip(whole, rows, strict=True)]
        return [
            replace(generations[number], prompt_cut=cut) if cut else generations[number]
            for number, cut in enumerate(cuts)
        ]

    def _at_once(self, tokens: Sequence[int]) -> int:
        """How many of these rows can be worked on together, whose keys and values are those of so many tokens."""
        assert self.model.config.decoder is not None
        parts = (block.attention for block in self.model.config.decoder.blocks)
        each = KEPT * sum(2 * part.num_kv_heads * part.head_size for part in parts)
        most = accumulate(tokens, max)  # all rows get the room of the longest
        return max(1, sum(count * longest * each <= ROOM for count, longest in enumerate(most, 1)))

    def cut(self, prompt: str, sampling: Sampling, *, special: bool = False) -> int:
        """How many tokens of a prompt are dropped, by the rule of `sampling.truncate`."""
        row = self.encode(prompt, 1, special=special)
        return len(row) - len(self._fit(row, sampling))

    def stream(
        self, prompt: str | Sequence[int], sampling: Sampling | None = None, *, special: bool = False
    ) -> Iterator[str]:
        """Continue one prompt, giving the text piece by piece: whole characters, and no part of a stop string.

        Raises:
            UsageError: a prompt that is empty or too long; beam search, which knows its text only at the end.
        """
        return shown(self.stream_tokens(prompt, sampling, special=special))

    def stream_tokens(
        self, prompt: str | Sequence[int], sampling: Sampling | None = None, *, special: bool = False
    ) -> Iterator[StreamedToken]:
        """As `stream`, each token with its log-probability, also those that show nothing.

        Raises:
            UsageError: as for `stream`.
        """
        options = sampling or self.usual
        row = self._fit(self.encode(prompt, 1, special=special), options)
        limit = self._limit(row, options)
        if options.beams > 1:
            raise UsageError("generation.stream_beams", beams=options.beams)
        return self._stream(row, limit, self._seeds(options, None, 1), options)

    def before(self, row: Sequence[int]) -> list[int]:
        """What the decoder has read when it begins to answer a row: the row itself, or its start where an encoder reads.

        Raises:
            UsageError: an encoder reads, and nothing says what the decoder starts with.
        """
        if self.model.config.encoder is None:
            return list(row)
        if self.start is None:
            raise UsageError("generation.no_start")
        return [self.start, *self.rules.forced]

    def logprobs(self, row: Sequence[int], continuation: Sequence[int]) -> Float[Tensor, " tokens"]:
        """Log-probability (nats) of each token of a continuation of a row, with gradients where they are wanted."""
        before, device = self.before(row), self.model.embedding.tokens.weight.device
        if not continuation:
            return torch.zeros(0, device=device)
        encodes = self.model.config.encoder is not None
        memory = self.model.encode(torch.tensor([list(row)], device=device)) if encodes else None
        target = torch.tensor([[*before, *continuation][:-1]], device=device)
        hidden = self.model.decode(target, memory=memory)[:, len(before) - 1 :]
        logprobs = self.model.head(hidden)[0].float().log_softmax(-1)
        return logprobs.gather(1, torch.tensor(continuation, device=device)[:, None])[:, 0]

    def _stream(self, row: list[int], limit: int, seeds: Sequence[int], options: Sampling) -> Iterator[StreamedToken]:
        text = self._growing(row, limit, options)
        for _ in self._sample([row], [text], seeds, options):
            yield StreamedToken(text.shown[-1], text.ids[-1], text.logprobs[-1])
        return text.result()

    def _batch(self, rows: list[list[int]], limits: list[int], seeds: list[int], options: Sampling) -> list[Generation]:
        if options.beams > 1:
            return self._search(rows, limits, options)
        texts = [self._growing(row, limit, options) for row, limit in zip(rows, limits, strict=True)]
        for _ in self._sample(rows, texts, seeds, options):
            pass
        return [text.result() for text in texts]

    def _sample(
        self, rows: list[list[int]], texts: list[Growing], seeds: Sequence[int], options: Sampling
    ) -> Iterator[None]:
        """Let all texts grow by one token a turn, until each is finished."""
        with evaluating(self.model):
            decoding = self._decoding(rows, [text.limit for text in texts])
            sampler = Sampler(options, decoding.prompts, seeds, vocab_size=self.tokenizer.vocab_size)
            logits = decoding.start()
            while True:
                tokens, logprobs = sampler.choose(logits)
                check_finite(logprobs)
                for text, token, logprob in zip(texts, tokens.tolist(), logprobs.tolist(), strict=True):
                    text.push(token, logprob)
                yield
                kept = [place for place, text in enumerate(texts) if text.finish_reason is None]
                if not kept:
                    return
                if len(kept) < len(texts):
                    texts = [texts[place] for place in kept]
                    chosen = torch.tensor(kept, device=tokens.device)
                    decoding.select(chosen)
                    sampler.keep(kept)
                    tokens = tokens[chosen]
                logits = decoding.step(tokens)

    def _search(self, rows: list[list[int]], limits: list[int], options: Sampling) -> list[Generation]:
        """The best hypothesis of each row; a stop string cuts its text afterwards."""
        with evaluating(self.model):
            decoding, alpha = self._decoding(rows, limits), options.length_penalty
            rules = {"no_repeat_ngram": options.no_repeat_ngram, "early_stopping": options.early_stopping}
            hypotheses = search(
                decoding, beams=options.beams, limits=limits, ends=self.ends, alpha=alpha, wanted=1, **rules
            )
        generations = []
        for row, limit, (best, *_) in zip(rows, limits, hypotheses, strict=True):
            text = self._growing(row, limit, options)
            for token, logprob in zip(best.ids, best.logprobs, strict=True):
                if text.finish_reason is None:
                    text.push(token, logprob)
            generations.append(text.result())
        return generations

    def _decoding(self, rows: list[list[int]], limits: Sequence[int]) -> Decoding:
        alone, device = self.model.config.encoder is None, self.model.embedding.tokens.weight.device
        prompts = rows if alone else [self.before(row) for row in rows]
        return Decoding(
            self.model,
            prompts,
            None if alone else rows,
            prefix=self.prefix and alone,
            vocab_size=self.tokenizer.vocab_size,
            suppressed=self.rules.suppressed,
            owed=Owed(self.carried, rows, self.ends, limits, device) if self.carried else None,
        )

    def encode(self, text: str | Sequence[int], number: int = 1, *, special: bool = False) -> list[int]:
        """The ids that the decoder continues, or that the encoder reads."""
        if isinstance(text, str):
            ids = self.framing.around(self.tokenizer.encode_ids([text], plain=not special)[0].tolist())
        else:
            ids = list(text)
            wrong = [one for one in ids if not 0 <= one < self.model.config.vocab_size]
            if wrong:
                raise UsageError("presets.unknown_id", given=wrong[0], last=self.model.config.vocab_size - 1)
        if not ids:
            raise UsageError("generation.empty_prompt", number=number)
        return ids

    def _fit(self, row: list[int], options: Sampling) -> list[int]:
        """The prompt as it is read: cut, where it is too long and may be, without its start or its end token."""
        alone = self.model.config.encoder is None
        if options.truncate == "never" or self.longest is None:
            return row
        spare = (options.max_tokens or max(self.longest // 4, 1)) - 1 if alone else 0
        room, kept = self.longest - spare, int(not alone or row[:1] == list(self.framing.first[-1:]))
        if len(row) <= room or room <= kept:
            return row
        first, last = (row[:kept], []) if alone else ([], row[-kept:])
        middle = row[len(first) : len(row) - len(last)]
        size = room - kept
        return [*first, *(middle[-size:] if options.truncate == "left" else middle[:size]), *last]

    def _limit(self, row: list[int], options: Sampling) -> int:
        """How many tokens may follow; the last one needs no position of its own, since nothing reads it."""
        longest, asked = self.longest, options.max_tokens
        length = len(row) if self.model.config.encoder is None else 1 + len(self.rules.forced)
        most = DEFAULT_TOKENS if self.rules.longest is None else max(self.rules.longest - length, 1)
        if longest is None:
            return asked or most
        if len(row) > longest:
            raise UsageError("generation.prompt_too_long", length=len(row), limit=longest)
        room = longest - length + 1
        if asked is not None and asked > room:
            raise UsageError("generation.too_long", length=length, asked=asked, limit=longest, room=room)
        return asked or min(most, room)

    @staticmethod
    def _seeds(options: Sampling, seeds: Sequence[int] | None, wanted: int) -> list[int]:
        if seeds is None:
            return [secrets.randbits(63) if options.seed is None else options.seed for _ in range(wanted)]
        if len(seeds) != wanted:
            raise UsageError("generation.seeds", given=len(seeds), wanted=wanted)
        return list(seeds)

    def _growing(self, row: list[int], limit: int, options: Sampling) -> Growing:
        decoder = self.tokenizer.stream()
        if self.model.config.encoder is None:
            for token in row[-PRIMING:]:
                decoder.push(token)
        return Growing(decoder, self.ends, options.stop, limit)
