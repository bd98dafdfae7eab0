"""What costs nothing, on the same split: a model that cannot beat these has learned nothing worth its price.

TF-IDF and nearest neighbours need scikit-learn; they are left out where it is missing.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from trifold.tasks.record import Record
from trifold.tasks.task import Prediction

__all__ = [
    "most_frequent_tags",
    "nearest_translation",
    "simple_classifiers",
    "simple_labels",
    "sliding_window",
    "tfidf_ridge",
    "tfidf_vectors",
]

MOST = 100_000
"""Training examples that the learned baselines read, at most: they must take seconds."""
WORD = re.compile(r"[\u3400-\u9fff]|[^\W_]+")
TERM = r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+"
SENTENCE = re.compile(r"[^.!?。！？；;\n]+[.!?。！？；;\n]*")


def simple_classifiers(
    names: Sequence[str], train: Sequence[Record], test: Sequence[Record]
) -> dict[str, list[Prediction]]:
    """The most frequent label, and logistic regression on TF-IDF."""
    return {"majority": _majority(names, train, test), **_tfidf_regression(names, train, test)}


def _majority(names: Sequence[str], train: Sequence[Record], test: Sequence[Record]) -> list[Prediction]:
    counts = Counter(record.gold for record in train)
    logits = tuple(float(np.log(counts[label] + 1e-9)) for label in names)
    return [Prediction(counts.most_common(1)[0][0], logits=logits)] * len(test)


def _joined(record: Record) -> str:
    return " \n ".join(record.inputs)


def _vectorizer() -> Any:
    """TF-IDF over words and pairs of words; each Han character is a word, so that Chinese needs no other rule."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=TERM, max_features=300_000)


def _has_sklearn() -> bool:
    import importlib.util

    return importlib.util.find_spec("sklearn") is not None


def _tfidf_regression(
    names: Sequence[str], train: Sequence[Record], test: Sequence[Record]
) -> dict[str, list[Prediction]]:
    if not _has_sklearn() or len({record.gold for record in train}) < 2:
        return {}
    from sklearn.linear_model import LogisticRegression

    chosen = _spread(train)
    texts = [_joined(record) for record in chosen]
    vectorizer = _vectorizer()
    model = LogisticRegression(C=10.0, max_iter=300)
    model.fit(vectorizer.fit_transform(texts), [record.gold for record in chosen])
    table = model.predict_log_proba(vectorizer.transform([_joined(record) for record in test]))
    place = {label: column for column, label in enumerate(model.classes_)}
    columns = [place.get(label) for label in names]
    logits = np.stack([np.full(len(test), -1e9) if at is None else table[:, at] for at in columns], axis=1)
    made = [Prediction(names[int(row.argmax())], logits=tuple(row.tolist())) for row in logits]
    return {"tfidf_logistic_regression": made}


def simple_labels(names: Sequence[str], train: Sequence[Record], test: Sequence[Record]) -> dict[str, list[Prediction]]:
    """The most frequent set of labels, and a logistic regression for each label."""
    usual = Counter(record.gold for record in train).most_common(1)[0][0]
    found = {"majority": [Prediction(list(usual))] * len(test)}
    return found | (_tfidf_labels(names, train, test) if _has_sklearn() else {})


def _tfidf_labels(names: Sequence[str], train: Sequence[Record], test: Sequence[Record]) -> dict[str, list[Prediction]]:
    from sklearn.linear_model import LogisticRegression

    chosen, vectorizer = _spread(train), _vectorizer()
    known = vectorizer.fit_transform([_joined(record) for record in chosen])
    asked = vectorizer.transform([_joined(record) for record in test])
    said: list[list[str]] = [[] for _ in test]
    for label in names:
        marks = np.array([label in record.gold for record in chosen])
        always = bool(marks.all())
        varies = marks.any() and not always
        yes = (
            LogisticRegression(C=10.0, max_iter=300).fit(known, marks).predict(asked)
            if varies
            else [always] * len(test)
        )
        for row in np.flatnonzero(yes):
            said[row].append(label)
    return {"tfidf_logistic_regression": [Prediction(labels) for labels in said]}


def tfidf_ridge(train: Sequence[Record], test: Sequence[Record]) -> dict[str, list[Prediction]]:
    """Ridge regression on TF-IDF: of a text its words, of a pair what both share, what they do not, and their cosine."""
    if not _has_sklearn():
        return {}
    from sklearn.linear_model import Ridge

    chosen, vectorizer = _spread(train), _vectorizer()
    vectorizer.fit([text for record in chosen for text in record.inputs])

    def features(records: Sequence[Record]) -> Any:
        from scipy.sparse import csr_matrix, hstack

        first, *others = (vectorizer.transform(texts) for texts in zip(*(one.inputs for one in records), strict=True))
        for other in others:
            shared = first.multiply(other)
            first = hstack([shared, abs(first - other), csr_matrix(shared.sum(1))]).tocsr()
        return first

    model = Ridge(alpha=1.0).fit(features(chosen), [record.gold for record in chosen])
    return {"tfidf_ridge": [Prediction(float(score)) for score in model.predict(features(test))]}


def _spread(records: Sequence[Record]) -> list[Record]:
    """At most `MOST` records, evenly from the whole."""
    step = max(1, -(-len(records) // MOST))
    return list(records[::step])


def most_frequent_tags(train: Sequence[Record], test: Sequence[Record]) -> list[Prediction]:
    """The tag that each word has most often; of an unknown word the tag that is the most frequent.

    Example:
        >>> train = [Record(("in", "Rome"), ("O", "B-LOC")), Record(("in", "it"), ("O", "O"))]
        >>> most_frequent_tags(train, [Record(("to", "Rome"))])[0].answer
        ['O', 'B-LOC']
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for record in train:
        for word, tag in zip(record.inputs, record.gold, strict=True):
            counts[word][tag] += 1
    usual = Counter(tag for record in train for tag in record.gold).most_common(1)[0][0]
    best = {word: found.most_common(1)[0][0] for word, found in counts.items()}
    return [Prediction([best.get(word, usual) for word in record.inputs]) for record in test]


def nearest_translation(train: Sequence[Record], test: Sequence[Record]) -> dict[str, list[Prediction]]:
    """The translation of the training sentence that is most like the source."""
    if not _has_sklearn():
        return {}
    chosen = _spread(train)
    vectorizer = _vectorizer()
    known = vectorizer.fit_transform([record.inputs[0] for record in chosen])
    predictions: list[Prediction] = []
    for start in range(0, len(test), 256):
        asked = vectorizer.transform([record.inputs[0] for record in test[start : start + 256]])
        nearest = np.asarray((asked @ known.T).argmax(axis=1)).ravel()
        predictions += [Prediction(chosen[int(number)].gold) for number in nearest]
    return {"nearest_neighbour": predictions}


def tfidf_vectors(train: Sequence[Record], test: Sequence[Record]) -> dict[str, list[Prediction]]:
    """TF-IDF vectors, cut to the features of the test texts, so that the task's own ranking serves both."""
    if not _has_sklearn():
        return {}
    own = [(record, (*record.gold.positives, *record.gold.negatives)) for record in (*_spread(train), *test)]
    vectorizer = _vectorizer().fit([text for record, partners in own for text in (record.inputs[0], *partners)])
    texts = list(dict.fromkeys(text for _, partners in own[-len(test) :] for text in partners))
    passages = vectorizer.transform(texts)
    queries = vectorizer.transform([record.inputs[0] for record in test])
    shared = np.flatnonzero(np.asarray(queries.sum(0)).ravel())[:20_000]
    table, asked = (part[:, shared].toarray().astype(np.float32) for part in (passages, queries))
    known = dict(zip(texts, table, strict=True))
    return {"tfidf": [Prediction(one, details={"texts": known}) for one in asked]}


def sliding_window(record: Record) -> Prediction:
    """Of the sentence that shares most with the question, the longest stretch that the question lacks.

    After the sliding-window baseline of Richardson et al. (2013); rare words count more.
    """
    question, context = record.inputs
    asked = {word.lower() for word in WORD.findall(question)}
    counts = Counter(word.lower() for word in WORD.findall(context))
    best, span = -1.0, (0, 0)
    for sentence in SENTENCE.finditer(context):
        words = {word.lower() for word in WORD.findall(sentence[0])}
        score = sum(1 / (1 + counts[word]) for word in words & asked)
        if score > best:
            best, span = score, sentence.span()
    start, end = _longest_gap(context, span, asked)
    return Prediction(context[start:end], details={"start": start, "end": end})


def _longest_gap(context: str, span: tuple[int, int], asked: set[str], *, most: int = 8) -> tuple[int, int]:
    run: list[tuple[int, int]] = []
    longest: list[tuple[int, int]] = []
    for word in WORD.finditer(context, *span):
        run = [] if word[0].lower() in asked or len(run) >= most else run
        if word[0].lower() not in asked:
            run = [*run, word.span()]
        longest = max(longest, run, key=len)
    return (longest[0][0], longest[-1][1]) if longest else (span[0], span[0])
