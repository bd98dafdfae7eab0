"""The tasks that a model can be fine-tuned for, as frozen values."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Interval

from trifold.config import TAGGED, Config, Count, Fraction, Natural, Positive, require
from trifold.text.training import Kind

__all__ = [
    "Classification",
    "Embedding",
    "Generation",
    "Regression",
    "SpanQA",
    "Tagging",
    "TaskConfig",
    "Translation",
]


class _Common(Config):
    """What tasks have in common; `tokenizer_kind` is trained where none is named, for a model of random weights."""

    __slots__ = ()
    tokenizer_kind: ClassVar[Kind] = "byte_bpe"


@dataclass(frozen=True, kw_only=True, slots=True)
class Classification(_Common):
    """Which of a few labels a text, or a pair of texts, has. Sentiment is a configuration of it.

    Attributes:
        labels: their names, in the order of the head's outputs; empty: found in the training data.
        pairs: whether there are two texts; found in the training data.
        match: tell the model of a pair which tokens of the second text the first has too. Helps a small model; no other
            tool can express it, so such a model is not portable.
        label_names: names of integer labels, in their order, or each as `number=name`; also of the places of lists of 0
            and 1. The labels are then these.
        multi_label: a text may have any number of labels.
        label_separator: what divides labels in one text; empty for nothing; None: found in the training data.
        label_vectors: labels are lists with 1 at the place of each label that a text has; found in the training data.
        class_weights: `balanced` weighs each class as if all were equally frequent.
        pooling: what stands for a text: the mean of its vectors, its first or its last; `auto` is the mean for an
            encoder, the last for a decoder. An encoder-decoder always reads its decoder's first vector.
        ngrams: tokens in the longest run that the head looks at by itself, as a linear classifier does; 0 for none. Helps
            where single words and phrases decide and the model is small.
        token_dropout: how often a token is hidden in training, as in masked pre-training; against learning by heart.
        neutral_zone: sentiment between two labels: where the top probability is below this, the answer is "neutral";
            0 for none.
        max_length: longest text in tokens; the rest is cut off at the end, of a pair's longer side first.

    Example:
        >>> Classification(labels=("no", "yes")).multi_label
        False
    """

    kind: Literal["classification"] = "classification"
    labels: tuple[str, ...] = ()
    pairs: bool = False
    match: bool = False
    label_names: tuple[str, ...] = ()
    multi_label: bool = False
    label_separator: str | None = None
    label_vectors: bool = False
    class_weights: Literal["none", "balanced"] = "none"
    pooling: Literal["auto", "mean", "first", "last"] = "auto"
    ngrams: Annotated[int, Interval(ge=0, le=8)] = 0
    token_dropout: Fraction = 0.0
    neutral_zone: Fraction = 0.0
    max_length: Count = 512

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        distinct = len(set(self.labels)) == len(self.labels)
        require(distinct, where="task.labels", given=self.labels, allowed="each label once")
        one = not (self.multi_label or self.label_vectors)
        divided = one and bool(self.label_separator)
        require(
            not divided, where="task.label_separator", given=self.label_separator, allowed="only with task.multi_label"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Regression(_Common):
    """A score of a text, or of how much a pair of texts has in common: ratings, quality, similarity.

    The model's output is a score in standard deviations from the mean of training.

    Attributes:
        mean, deviation: of the training scores; None: found in the training data.
        pairs: whether there are two texts; found in the training data.
        match: as in classification.
        pooling: as in classification.
        ngrams: as in classification.
        token_dropout: as in classification.
        max_length: longest text in tokens; the rest is cut off at the end, of a pair's longer side first.

    Example:
        >>> Regression(mean=2.5, deviation=1.5).pairs
        False
    """

    kind: Literal["regression"] = "regression"
    mean: float | None = None
    deviation: Positive | None = None
    pairs: bool = False
    match: bool = False
    pooling: Literal["auto", "mean", "first", "last"] = "auto"
    ngrams: Annotated[int, Interval(ge=0, le=8)] = 0
    token_dropout: Fraction = 0.0
    max_length: Count = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class Tagging(_Common):
    """A label for each word or character of a sentence.

    Attributes:
        labels: the tags; empty: found in the training data.
        label_names: names of integer tags, in their order, or each as `number=name`. The tags are then these.
        scheme: how tags mark entities; `auto`: found from the tags, and counted as seqeval does by default (BILOU by the
            letter); a scheme by name: counted by its letter, as seqeval's strict mode does; `none`: tags are no marks.
        units: what a text without spaces or tags is cut into: `characters`, `words` (Han characters each by itself),
            `treebank` (words, with `n't` and `'s` apart), `segments` (words, also of Chinese), `spaces`; `auto`: found in
            the training data.
        max_length: longest input in tokens; a longer sentence is read in several, which overlap.

    Example:
        >>> Tagging().kind
        'tagging'
    """

    tokenizer_kind: ClassVar[Kind] = "wordpiece"  # transformers' pipeline takes a byte token of one space for a word
    kind: Literal["tagging"] = "tagging"
    labels: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    scheme: Literal["auto", "none", "bio", "iob1", "iob2", "ioe1", "ioe2", "iobes", "bmes", "bilou"] = "auto"
    units: Literal["auto", "characters", "words", "treebank", "segments", "spaces"] = "auto"
    max_length: Count = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class SpanQA(_Common):
    """Which stretch of a context answers a question, if any (Rajpurkar et al. 2016; 2018).

    Attributes:
        max_length: question and window of the context together, in tokens.
        stride: how far the next window of a long context begins after the one before, in tokens.
        max_question: longest question in tokens.
        max_answer: longest answer in tokens.
        threshold: the answer is "I don't know" where the best span scores less than this above no answer; None: a
            question is always answered.
        match: tell the model which tokens of the context the question has too, and how near each token is to those. Helps a
            small model; no other tool can express it, so such a model is not portable.
        rule: how answers are compared: by SQuAD's words or by CMRC's characters; `auto`: characters where the contexts
            are mostly Chinese.

    Example:
        >>> SpanQA().stride
        128
    """

    kind: Literal["span_qa"] = "span_qa"
    max_length: Count = 384
    stride: Count = 128
    max_question: Count = 64
    max_answer: Count = 48
    threshold: float | None = None
    match: bool = False
    rule: Literal["auto", "squad", "cmrc"] = "auto"

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        fits = self.max_question + 8 < self.max_length
        require(fits, where="task.max_question", given=self.max_question, allowed=f"< {self.max_length - 8}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Translation(_Common):
    """A text in, a text out (Vaswani et al. 2017): an encoder-decoder reads the source, a decoder continues it.

    Attributes:
        beams: hypotheses of beam search; 1 is greedy.
        length_penalty: exponent of its length normalisation.
        early_stopping: the search is over when as many hypotheses as beams have ended, even if a better one may come.
        no_repeat_ngram: no run of so many tokens occurs twice in a translation; 0 for no such rule.
        label_smoothing: share of probability spread over all tokens (Szegedy et al. 2016).
        max_length: longest side in tokens.
        max_tokens: most tokens of a translation; None for `max_length`.
        target_language: how BLEU cuts words: `zh` into characters, anything else as 13a; `auto`: from the references.

    Example:
        >>> Translation().beams
        5
    """

    kind: Literal["translation"] = "translation"
    beams: Annotated[int, Interval(ge=1, le=64)] = 5
    length_penalty: Annotated[float, Interval(ge=0, le=10)] = 1.0
    early_stopping: bool = True
    no_repeat_ngram: Natural = 0
    label_smoothing: Annotated[float, Interval(ge=0, lt=1)] = 0.1
    max_length: Count = 128
    max_tokens: Count | None = None
    target_language: str = "auto"


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation(_Common):
    """Answers to instructions and conversations, with the loss on the answers only; without prompts, plain continuation.

    Attributes:
        chat_template: how a conversation is put before the model, in jinja2: `auto`, the one that the model's folder has,
            else Trifold's; `default`, `chatml`, or `none` for no marks at all; a template, or a file that holds one.
        template: how an instruction and its input become one question; `{prompt}` and `{input}` are filled in.
        template_without_input: the same for an instruction that has no input.
        answers: whether all answers of a conversation are learned from, or the last alone.
        max_length: longest conversation in tokens; of a longer one the oldest turns go first, then the middle of the last
            question's input.

    Example:
        >>> "{prompt}" in Generation().template
        True
    """

    kind: Literal["generation"] = "generation"
    chat_template: str = "auto"
    template: str = "{prompt}\n{input}"
    template_without_input: str = "{prompt}"
    answers: Literal["all", "last"] = "all"
    max_length: Count = 512

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        for name in ("template", "template_without_input"):
            text = getattr(self, name)
            require("{prompt}" in text, where=f"task.{name}", given=text, allowed="a text with {prompt} in it")


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedding(_Common):
    """Texts to vectors whose product is large for texts that belong together: the dense retriever.

    Trained by telling the partners of each query from all others in its batch, and from hard negatives where there are
    some (van den Oord et al. 2018; Karpukhin et al. 2020); pairs with scores by the order of their cosines.

    Attributes:
        temperature: what cosines are divided by.
        scores: whether pairs have scores; found in the training data.
        max_length: longest text in tokens.
        pooling: what a text's vector is: the mean over its tokens, the first or the last of them; `auto`: as the model's
            folder says, else the mean.
        query_prompt, passage_prompt: what stands before each text of a kind, such as `query: `; None: as the model's
            folder says, else nothing.

    Example:
        >>> Embedding().temperature
        0.05
    """

    kind: Literal["embedding"] = "embedding"
    temperature: Positive = 0.05
    scores: bool = False
    max_length: Count = 256
    pooling: Literal["auto", "mean", "first", "last"] = "auto"
    query_prompt: str | None = None
    passage_prompt: str | None = None


TaskConfig = Annotated[Classification | Regression | Tagging | SpanQA | Translation | Generation | Embedding, TAGGED]
