"""Knowledge bases: passages found by words and vectors, and triples."""

from trifold.retrieval.dense import Embedder
from trifold.retrieval.fusion import fuse
from trifold.retrieval.knowledge_base import Hit, KnowledgeBase
from trifold.retrieval.passage import Passage, best_sentence, split_passages, terms_of
from trifold.retrieval.triple import TripleAnswer, answer_from_triples, lexical_scores, meaning_scores
from trifold.retrieval.writer import AddReport

__all__ = [
    "AddReport",
    "Embedder",
    "Hit",
    "KnowledgeBase",
    "Passage",
    "TripleAnswer",
    "answer_from_triples",
    "best_sentence",
    "fuse",
    "lexical_scores",
    "meaning_scores",
    "split_passages",
    "terms_of",
]
