"""Hugging Face's classes for tasks: for each family and task the name of the class, the shape of its head and its names.

Plain data that reads both ways, as the key tables of the families are. Marian has no such class.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, get_args

from trifold.checkpoint import Entry
from trifold.config import from_json
from trifold.presets.field import activation_name, refuse_unless, their_activation
from trifold.presets.task_head import HeadShape, Pooling

__all__ = [
    "CLASSES",
    "FIXED_OUTPUTS",
    "FamilyClasses",
    "Kind",
    "Outputs",
    "TaskClass",
    "choice_class",
    "decoder_classes",
    "encoder_classes",
    "labels_in",
    "pooler",
    "read_outputs",
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
        dropout: the field that says the dropout before the output; "" for none.
    """

    architecture: str
    shape: Callable[[Data], dict[str, Any]]
    names: Mapping[str, str]
    prefix: str | None = None
    poolings: Mapping[Pooling, str] = field(default_factory=dict)
    encoder_only: bool = False
    dropout: str = "classifier_dropout"

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
        entries = []
        for ours, theirs in self.names.items():
            biased = {"dense": shape.dense_bias, "output": shape.output_bias}.get(ours, _norm_bias(shape))
            kinds = ("weight", "bias") if biased else ("weight",)
            entries += [Entry(f"{theirs}.{kind}", (f"heads.task.{ours}.{kind}",)) for kind in kinds]
        return entries

    def write(self, shape: HeadShape) -> dict[str, Any]:
        """The fields of a configuration that say what is not the class's own; those of the body say more than these."""
        fields: dict[str, Any] = {self.dropout: shape.dropout} if self.dropout else {}
        if shape.norm is not None:
            fields |= {"classifier_activation": their_activation(shape.activation), "classifier_bias": shape.dense_bias}
        return fields | ({"classifier_pooling": self.poolings[shape.pooling]} if shape.pooling in self.poolings else {})


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
        if self.kind in FIXED_OUTPUTS:
            return {}
        names = {str(number): label for number, label in enumerate(self.labels)}
        numbers = {label: number for number, label in enumerate(self.labels)}
        problem = {"problem_type": self.problem} if self.kind == "classification" else {}
        return {"id2label": names, "label2id": numbers, **problem}


FIXED_OUTPUTS: Mapping[Kind, tuple[str, ...]] = {"span_qa": ("start", "end"), "multiple_choice": ("score",)}
"""Of the classes whose outputs no configuration names or counts."""

PROBLEMS = ("single_label_classification", "multi_label_classification", "regression")


def read_outputs(kind: Kind, data: Data) -> Outputs:
    """What a configuration says of the outputs of a head.

    Raises:
        ConfigError: a field is of the wrong type.
    """
    if kind in FIXED_OUTPUTS:
        return Outputs(kind, FIXED_OUTPUTS[kind])
    labels = labels_in(data)
    problem = data.get("problem_type") or ("regression" if len(labels) == 1 else PROBLEMS[0])
    refuse_unless(problem in PROBLEMS, "problem_type", problem, ", ".join(PROBLEMS))
    return Outputs(kind, labels, problem)


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
    names = data.get("id2label")
    if names is None:
        count = data.get("num_labels", 2)
        whole = isinstance(count, int) and not isinstance(count, bool) and 1 <= count < 2**20
        refuse_unless(whole, "num_labels", count, "1 or more")
        return tuple(f"LABEL_{number}" for number in range(count))
    fits = isinstance(names, dict) and set(names) == {str(number) for number in range(len(names))} and names
    refuse_unless(bool(fits), "id2label", str(names)[:100], "a name for each number from 0 on")
    return tuple(str(names[str(number)]) for number in range(len(names)))


def _dropout(data: Data, *others: str) -> float:
    names = ("classifier_dropout", *others)
    return next((data[name] for name in names if data.get(name) is not None), 0.1)


def _dense(pooling: Pooling, *others: str, dropout_first: bool) -> Callable[[Data], dict[str, Any]]:
    return partial(_shape, {"pooling": pooling, "dense": True, "dropout_first": dropout_first}, others)


def _with_dropout(*others: str) -> Callable[[Data], dict[str, Any]]:
    return partial(_shape, {}, others)


def _own_dropout(fixed: Mapping[str, Any], field: str, usual: float, data: Data) -> dict[str, Any]:
    return {**fixed, "dropout": data.get(field, usual)}


def _shape(fixed: Mapping[str, Any], others: tuple[str, ...], data: Data) -> dict[str, Any]:
    return {**fixed, "dropout": _dropout(data, *others)}


def _modernbert(pooled: bool, data: Data) -> dict[str, Any]:
    norm = {"kind": "layer_norm", "eps": data.get("norm_eps", 1e-5), "bias": data.get("norm_bias", False)}
    said, activation = data.get("classifier_pooling", "cls"), data.get("classifier_activation", "gelu")
    known = {theirs: ours for ours, theirs in MODERNBERT_POOLINGS.items()}
    refuse_unless(said in known, "classifier_pooling", said, ", ".join(known))
    return {
        "pooling": known[said] if pooled else "each",
        "dense": True,
        "norm": norm,
        "dense_bias": data.get("classifier_bias", False),
        "dropout": data.get("classifier_dropout", 0.0),
        "activation": activation_name("classifier_activation", activation),
    }


def _last(data: Data) -> dict[str, Any]:
    del data
    return {"pooling": "last", "output_bias": False}


def _of_body(fields: tuple[str, ...], data: Data) -> dict[str, Any]:
    dropouts = (data[name] for name in fields if data.get(name) is not None)
    return {"pooling": "first", "dense": True, "dropout": next(dropouts, 0.1)}


def _bare(data: Data) -> dict[str, Any]:
    del data
    return {}


MODERNBERT_POOLINGS: Mapping[Pooling, str] = {"first": "cls", "mean": "mean"}
HEAD = "classification_head"
MODERNBERT_NAMES = {"dense": "head.dense", "norm": "head.norm", "output": "classifier"}
MODERNBERT = TaskClass(
    "ModernBertForSequenceClassification",
    partial(_modernbert, True),
    MODERNBERT_NAMES,
    poolings=MODERNBERT_POOLINGS,
)


def encoder_classes(
    name: str,
    prefix: str,
    head: Mapping[str, str],
    *,
    activation: str = "tanh",
    dropout_first: bool = False,
    dropouts: Mapping[Kind, tuple[str, float]] | None = None,
    choices: TaskClass | None = None,
    spare: tuple[str, ...] = (),
) -> FamilyClasses:
    """The classes of an encoder.

    Args:
        name: what the names of all classes begin with.
        prefix: what the names of the body begin with.
        head: names of the hidden layer and the output of the head that classifies, ours to theirs.
        activation: of that hidden layer.
        dropout_first: whether there is dropout before it too.
        dropouts: for each task the field that says the dropout before the output, and its usual value; None for BERT's.
        choices: the class for multiple choice; None where its head is the one that classifies.
        spare: weights that are kept as they are.

    Example:
        >>> encoder_classes("Bert", "bert.", {"dense": "bert.pooler.dense", "output": "classifier"}).body
        'BertModel'
    """

    def task_class(kind: Kind, suffix: str, names: Mapping[str, str], shape: Mapping[str, Any]) -> TaskClass:
        if dropouts is not None:
            field, value = dropouts.get(kind, ("", 0.0))
            return TaskClass(f"{name}{suffix}", partial(_own_dropout, shape, field, value), names, dropout=field)
        if kind == "span_qa":
            return TaskClass(f"{name}{suffix}", _bare, names)
        return TaskClass(f"{name}{suffix}", partial(_shape, shape, ("hidden_dropout_prob",)), names)

    dense = {"pooling": "first", "dense": True, "activation": activation, "dropout_first": dropout_first}
    tasks: dict[Kind, TaskClass] = {
        "classification": task_class("classification", "ForSequenceClassification", head, dense),
        "tagging": task_class("tagging", "ForTokenClassification", {"output": "classifier"}, {}),
        "span_qa": task_class("span_qa", "ForQuestionAnswering", {"output": "qa_outputs"}, {}),
    }
    tasks["multiple_choice"] = choices or replace(tasks["classification"], architecture=f"{name}ForMultipleChoice")
    return FamilyClasses(f"{name}Model", prefix, tasks, spare=spare)


def choice_class(name: str, prefix: str) -> TaskClass:
    """The class for multiple choice of an encoder that classifies without the pooler of its body, and chooses with it.

    Its dropout is the body's, which a family's own options say only for attention.

    Example:
        >>> choice_class("Roberta", "roberta.").names["dense"]
        'roberta.pooler.dense'
    """
    fields = ("hidden_dropout_prob", "attention_probs_dropout_prob")
    names = {"dense": f"{prefix}pooler.dense", "output": "classifier"}
    return TaskClass(f"{name}ForMultipleChoice", partial(_of_body, fields), names, dropout="")


KINDS: tuple[Kind, ...] = get_args(Kind)


def decoder_classes(
    name: str, prefix: str, *, asks: str | None = None, tags: str = "score", kinds: Collection[Kind] = KINDS
) -> FamilyClasses:
    """The classes of a decoder.

    Args:
        name: what the names of all classes begin with.
        prefix: what the names of the body begin with.
        asks: the same in the class for questions, where it is another one.
        tags: name of the output of the class for tags.
        kinds: the tasks that there is a class for.

    Example:
        >>> decoder_classes("Llama", "model.").tasks["tagging"].architecture
        'LlamaForTokenClassification'
    """
    tasks: dict[Kind, TaskClass] = {
        "classification": TaskClass(f"{name}ForSequenceClassification", _last, {"output": "score"}),
        "tagging": TaskClass(f"{name}ForTokenClassification", _with_dropout("hidden_dropout"), {"output": tags}),
        "span_qa": TaskClass(f"{name}ForQuestionAnswering", _bare, {"output": "qa_outputs"}, prefix=asks),
    }
    return FamilyClasses(f"{name}Model", prefix, {kind: tasks[kind] for kind in tasks if kind in kinds})


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


def pooler(prefix: str, *more: str) -> tuple[str, ...]:
    """The names of a body's pooler, and of further layers that no objective here trains.

    Example:
        >>> pooler("bert.")
        ('bert.pooler.dense.weight', 'bert.pooler.dense.bias')
    """
    return tuple(f"{name}.{kind}" for name in (f"{prefix}pooler.dense", *more) for kind in ("weight", "bias"))


ROBERTA_HEAD = {"dense": "classifier.dense", "output": "classifier.out_proj"}
CLASSES: Mapping[str, FamilyClasses] = {
    "bert": encoder_classes(
        "Bert",
        "bert.",
        {"dense": "bert.pooler.dense", "output": "classifier"},
        spare=pooler("bert.", "cls.seq_relationship"),
    ),
    "roberta": encoder_classes(
        "Roberta",
        "roberta.",
        ROBERTA_HEAD,
        dropout_first=True,
        choices=choice_class("Roberta", "roberta."),
        spare=pooler("roberta."),
    ),
    "modernbert": FamilyClasses(
        "ModernBertModel",
        "model.",
        {
            "classification": MODERNBERT,
            "multiple_choice": replace(MODERNBERT, architecture="ModernBertForMultipleChoice"),
            "tagging": TaskClass("ModernBertForTokenClassification", partial(_modernbert, False), MODERNBERT_NAMES),
            "span_qa": TaskClass("ModernBertForQuestionAnswering", partial(_modernbert, False), MODERNBERT_NAMES),
        },
    ),
    "t5": _pair("T5"),
    "mt5": _pair("MT5"),
    "umt5": _pair("UMT5"),
    "bart": _pair("Bart", "model.", alone=False),
    "mbart": _pair("MBart", "model.", alone=False),
    "marian": FamilyClasses("MarianModel", "model."),
}
"""By `model_type`, of the families that do not have them in their own file."""
