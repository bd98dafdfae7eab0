"""Hugging Face's classes for tasks: for each family and task the name of the class, the shape of its head and its names.

Plain data that reads both ways, as the key tables of the families are. Marian has no such class.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from trifold.checkpoint import Entry
from trifold.config import from_json
from trifold.presets.field import activation_name, refuse_unless, their_activation
from trifold.presets.task_head import HeadShape, Pooling

__all__ = [
    "CLASSES",
    "FamilyClasses",
    "Kind",
    "Outputs",
    "TaskClass",
    "find_class",
    "labels_in",
    "read_names",
    "read_outputs",
    "write_names",
]

Kind = Literal["classification", "tagging", "span_qa", "multiple_choice"]
Data = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TaskClass:
    """One class for a task.

    Attributes:
        architecture: its name.
        shape: configuration to what differs from a bare output that reads each vector.
        names: names of the head's parts, ours to theirs.
        prefix: what the names of the body begin with; None: as in the family's class with a language-model head.
        poolings: what can be said in `classifier_pooling`, ours to theirs; none: the class has one way only.
        encoder_only: whether it reads the encoder of an encoder-decoder and has no decoder.
    """

    architecture: str
    shape: Callable[[Data], dict[str, Any]]
    names: Mapping[str, str]
    prefix: str | None = None
    poolings: Mapping[Pooling, str] = field(default_factory=dict)
    encoder_only: bool = False

    def __deepcopy__(self, memo: object) -> "TaskClass":
        """Itself: nothing of it changes."""
        del memo
        return self

    def build(self, data: Data, outputs: int, pooling: Pooling | None = None) -> HeadShape:
        """The head that a configuration stands for, or with another pooling than it says.

        Raises:
            ConfigError: a field is out of range.
        """
        parts = {"pooling": "each", "dropout": 0.0, **self.shape(data), "outputs": outputs}
        return from_json(HeadShape, parts | ({"pooling": pooling} if pooling else {}), where="config.json")

    def entries(self, shape: HeadShape) -> list[Entry]:
        """The key table of the head."""
        found = []
        for ours, theirs in self.names.items():
            biased = {"dense": shape.dense_bias, "output": shape.output_bias}.get(ours, _norm_bias(shape))
            kinds = ("weight", "bias") if biased else ("weight",)
            found += [Entry(f"{theirs}.{kind}", (f"heads.task.{ours}.{kind}",)) for kind in kinds]
        return found

    def write(self, shape: HeadShape) -> dict[str, Any]:
        """The fields of a configuration that say what is not the class's own."""
        found: dict[str, Any] = {"classifier_dropout": shape.dropout}
        if shape.norm is not None:
            found |= {"classifier_activation": their_activation(shape.activation), "classifier_bias": shape.dense_bias}
        return found | ({"classifier_pooling": self.poolings[shape.pooling]} if shape.pooling in self.poolings else {})


def _norm_bias(shape: HeadShape) -> bool:
    return shape.norm is not None and shape.norm.kind == "layer_norm" and shape.norm.bias


@dataclass(frozen=True, slots=True)
class FamilyClasses:
    """The classes of one family beside that with the language-model head.

    Attributes:
        body: the class of the bare body.
        prefix: what the names of the body begin with in the class with the language-model head.
        tasks: the classes for tasks.
        encoder: the class of the encoder alone, in a family that has a decoder too; "" for none.
        spare: weights that are kept as they are: no objective here trains them.
    """

    body: str
    prefix: str
    tasks: Mapping[Kind, TaskClass] = field(default_factory=dict)
    encoder: str = ""
    spare: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the head of a folder says.

    Attributes:
        kind: the task.
        labels: names of the outputs, in order.
        problem: how logits become an answer: one of several labels, any number of them, or a number.

    Example:
        >>> Outputs("classification", ("no", "yes")).problem
        'single_label_classification'
    """

    kind: Kind
    labels: tuple[str, ...]
    problem: str = "single_label_classification"

    def write(self) -> dict[str, Any]:
        """The fields of a configuration."""
        if self.kind == "span_qa":
            return {}
        names = {str(number): label for number, label in enumerate(self.labels)}
        numbers = {label: number for number, label in enumerate(self.labels)}
        problem = {"problem_type": self.problem} if self.kind == "classification" else {}
        return {"id2label": names, "label2id": numbers, **problem}


PROBLEMS = ("single_label_classification", "multi_label_classification", "regression")


def read_outputs(kind: Kind, data: Data) -> Outputs:
    """What a configuration says of the outputs of a head.

    Raises:
        ConfigError: a field is of the wrong type.
    """
    if kind == "span_qa":
        return Outputs(kind, ("start", "end"))
    labels = labels_in(data)
    given = data.get("problem_type") or ("regression" if len(labels) == 1 else PROBLEMS[0])
    refuse_unless(given in PROBLEMS, "problem_type", given, ", ".join(PROBLEMS))
    return Outputs(kind, labels, given)


def labels_in(data: Data) -> tuple[str, ...]:
    """The names of labels in a configuration, in order.

    Raises:
        ConfigError: they are not named from 0 on.

    Example:
        >>> labels_in({"id2label": {"1": "yes", "0": "no"}})
        ('no', 'yes')
        >>> labels_in({})
        ('LABEL_0', 'LABEL_1')
    """
    given = data.get("id2label")
    if given is None:
        count = data.get("num_labels", 2)
        whole = isinstance(count, int) and not isinstance(count, bool) and 1 <= count < 2**20
        refuse_unless(whole, "num_labels", count, "1 or more")
        return tuple(f"LABEL_{number}" for number in range(count))
    fits = isinstance(given, dict) and set(given) == {str(number) for number in range(len(given))} and given
    refuse_unless(bool(fits), "id2label", str(given)[:100], "a name for each number from 0 on")
    return tuple(str(given[str(number)]) for number in range(len(given)))


def find_class(data: Data) -> tuple[Kind, TaskClass] | None:
    """The class for a task that a configuration names; None for the body or the class with a language-model head."""
    named = data.get("architectures")
    first = named[0] if isinstance(named, list) and named else None
    family = CLASSES.get(str(data.get("model_type")))
    pairs = family.tasks.items() if family else ()
    return next(((kind, one) for kind, one in pairs if one.architecture == first), None)


def read_names(
    theirs: Mapping[str, Any], known: frozenset[str], family: FamilyClasses, given: str | None
) -> dict[str, Any]:
    """Weights whose body is named as in the family's class with a language-model head, whichever class wrote them.

    Args:
        theirs: weights by the name in the file.
        known: all names of that class.
        family: the family's classes.
        given: what the names of the body begin with in the class that the configuration names.
    """
    prefixes = dict.fromkeys([given or family.prefix, family.prefix, "", "transformer.", "model."])
    counts = {one: sum(_renamed(name, one, family.prefix) in known for name in theirs) for one in prefixes}
    chosen = max(counts, key=counts.__getitem__)  # the first of the best
    return {name if name in known else _kept(_renamed(name, chosen, family.prefix), name, known): value
            for name, value in theirs.items()}  # fmt: skip


def _renamed(name: str, before: str, after: str) -> str:
    return after + name.removeprefix(before) if name.startswith(before) else name


def _kept(renamed: str, name: str, known: frozenset[str]) -> str:
    return renamed if renamed in known else name


def write_names(entries: list[Entry], family: FamilyClasses, prefix: str) -> list[Entry]:
    """Entries whose body is named as in another class."""
    return [replace(one, theirs=_renamed(one.theirs, family.prefix, prefix), otherwise="") for one in entries]


def _dropout(data: Data, *others: str) -> float:
    names = ("classifier_dropout", *others)
    return next((data[name] for name in names if data.get(name) is not None), 0.1)


def _dense(pooling: Pooling, *others: str, dropout_first: bool) -> Callable[[Data], dict[str, Any]]:
    return lambda data: {"pooling": pooling, "dense": True, "dropout": _dropout(data, *others),
                         "dropout_first": dropout_first}  # fmt: skip


def _with_dropout(*others: str) -> Callable[[Data], dict[str, Any]]:
    return lambda data: {"dropout": _dropout(data, *others)}


def _modernbert(pooled: bool) -> Callable[[Data], dict[str, Any]]:
    def shape(data: Data) -> dict[str, Any]:
        norm = {"kind": "layer_norm", "eps": data.get("norm_eps", 1e-5), "bias": data.get("norm_bias", False)}
        said, bent = data.get("classifier_pooling", "cls"), data.get("classifier_activation", "gelu")
        known = {theirs: ours for ours, theirs in MODERNBERT_POOLINGS.items()}
        refuse_unless(said in known, "classifier_pooling", said, ", ".join(known))
        return {"pooling": known[said] if pooled else "each", "dense": True, "norm": norm,
                "dense_bias": data.get("classifier_bias", False), "dropout": data.get("classifier_dropout", 0.0),
                "activation": activation_name("classifier_activation", bent)}  # fmt: skip

    return shape


def _last(data: Data) -> dict[str, Any]:
    del data
    return {"pooling": "last", "output_bias": False}


def _bare(data: Data) -> dict[str, Any]:
    del data
    return {}


MODERNBERT_POOLINGS: Mapping[Pooling, str] = {"first": "cls", "mean": "mean"}
HEAD = "classification_head"
MODERNBERT_NAMES = {"dense": "head.dense", "norm": "head.norm", "output": "classifier"}


def _encoder(
    name: str, prefix: str, dense: str, output: str, *, dropout_first: bool, spare: tuple[str, ...]
) -> FamilyClasses:
    """The classes of an encoder; `dense` and `output` are the names of the head that classifies."""
    dropout = "hidden_dropout_prob"
    whole = _dense("first", dropout, dropout_first=dropout_first)
    tasks: dict[Kind, TaskClass] = {
        "classification": TaskClass(f"{name}ForSequenceClassification", whole, {"dense": dense, "output": output}),
        "tagging": TaskClass(f"{name}ForTokenClassification", _with_dropout(dropout), {"output": "classifier"}),
        "span_qa": TaskClass(f"{name}ForQuestionAnswering", _bare, {"output": "qa_outputs"}),
    }
    return FamilyClasses(f"{name}Model", prefix, tasks, spare=spare)


def _decoder(name: str, prefix: str, *, asks: str | None = None, tags: str = "score") -> FamilyClasses:
    """The classes of a decoder; `asks` is the body's prefix in the class for questions, `tags` the output for tags."""
    tasks: dict[Kind, TaskClass] = {
        "classification": TaskClass(f"{name}ForSequenceClassification", _last, {"output": "score"}),
        "tagging": TaskClass(f"{name}ForTokenClassification", _with_dropout("hidden_dropout"), {"output": tags}),
        "span_qa": TaskClass(f"{name}ForQuestionAnswering", _bare, {"output": "qa_outputs"}, prefix=asks),
    }
    return FamilyClasses(f"{name}Model", prefix, tasks)


def _pair(name: str, prefix: str = "", *, alone: bool = True) -> FamilyClasses:
    """The classes of an encoder-decoder; `alone`: some of them have the encoder and no decoder."""
    inner, encoder = prefix or "transformer.", f"{name}EncoderModel" if alone else ""
    whole, names = _dense("last", dropout_first=True), {"dense": f"{HEAD}.dense", "output": f"{HEAD}.out_proj"}
    tasks: dict[Kind, TaskClass] = {
        "classification": TaskClass(f"{name}ForSequenceClassification", whole, names, inner),
        "span_qa": TaskClass(f"{name}ForQuestionAnswering", _bare, {"output": "qa_outputs"}),
    }
    if alone:
        tagging = f"{name}ForTokenClassification"
        tasks["tagging"] = TaskClass(tagging, _with_dropout(), {"output": "classifier"}, inner, encoder_only=True)
    return FamilyClasses(f"{name}Model", prefix, tasks, encoder=encoder)


def _pooler(prefix: str, *more: str) -> tuple[str, ...]:
    return tuple(f"{name}.{kind}" for name in (f"{prefix}pooler.dense", *more) for kind in ("weight", "bias"))


CLASSES: Mapping[str, FamilyClasses] = {
    "bert": _encoder(
        "Bert",
        "bert.",
        "bert.pooler.dense",
        "classifier",
        dropout_first=False,
        spare=_pooler("bert.", "cls.seq_relationship"),
    ),
    "roberta": _encoder(
        "Roberta", "roberta.", "classifier.dense", "classifier.out_proj", dropout_first=True, spare=_pooler("roberta.")
    ),
    "modernbert": FamilyClasses(
        "ModernBertModel",
        "model.",
        {
            "classification": TaskClass(
                "ModernBertForSequenceClassification",
                _modernbert(pooled=True),
                MODERNBERT_NAMES,
                poolings=MODERNBERT_POOLINGS,
            ),
            "tagging": TaskClass("ModernBertForTokenClassification", _modernbert(pooled=False), MODERNBERT_NAMES),
            "span_qa": TaskClass("ModernBertForQuestionAnswering", _modernbert(pooled=False), MODERNBERT_NAMES),
        },
    ),
    "gpt2": _decoder("GPT2", "transformer.", tags="classifier"),
    "llama": _decoder("Llama", "model.", asks="transformer."),
    "mistral": _decoder("Mistral", "model."),
    "qwen2": _decoder("Qwen2", "model.", asks="transformer."),
    "t5": _pair("T5"),
    "mt5": _pair("MT5"),
    "umt5": _pair("UMT5"),
    "bart": _pair("Bart", "model.", alone=False),
    "mbart": _pair("MBart", "model.", alone=False),
    "marian": FamilyClasses("MarianModel", "model."),
}
"""By `model_type`."""
