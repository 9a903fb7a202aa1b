"""A classifier that was fitted here: TF-IDF and logistic regression, kept as plain arrays and run from them.

Nothing is unpickled: an artefact is NumPy arrays of numbers and texts, read with pickles forbidden, and only when its
bytes have the hash that the version is pinned by.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from calibration.errors import NotComparable
from calibration.evaluators.base import Answer, Text
from calibration.models import Artefact, ClassifierVersion
from labeling.values import Scale

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

SEEDLESS = {"solver": "lbfgs", "max_iter": 1000}
"""lbfgs draws nothing: the same texts give the same coefficients."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How texts become numbers and how strongly coefficients are held back (C of scikit-learn)."""

    analyzer: str = "word"
    most_terms: int = 20_000
    strength: float = 1.0

    def vectorizer(self, **more: Any) -> TfidfVectorizer:
        # Here and below scikit-learn is loaded when it is used: it would take most of the start of every command.
        from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415

        reach = (1, 2) if self.analyzer == "word" else (1, 4)
        analyzer = "word" if self.analyzer == "word" else "char_wb"
        return TfidfVectorizer(analyzer=analyzer, ngram_range=reach, sublinear_tf=True, **more)


@dataclass(frozen=True, slots=True)
class Weights:
    """What was learned: a term's weight, and for each category a row of coefficients and an intercept.

    `terms` [t], `idf` [t], `coefficients` [k, t], `intercepts` [k], `categories` [k]. With `exclusive`, probabilities of
    the categories add up to 1 (softmax); without, each stands alone (several labels).
    """

    settings: Settings
    terms: Sequence[str]
    idf: np.ndarray[Any, Any]
    coefficients: np.ndarray[Any, Any]
    intercepts: np.ndarray[Any, Any]
    categories: Sequence[str]
    exclusive: bool

    def pack(self) -> bytes:
        """Bytes that are the same for the same weights."""
        told = {"analyzer": self.settings.analyzer, "most_terms": self.settings.most_terms,
                "strength": self.settings.strength, "exclusive": self.exclusive}  # fmt: skip
        file = io.BytesIO()
        np.savez_compressed(
            file,
            settings=np.array(json.dumps(told, sort_keys=True)),
            terms=np.array(list(self.terms), dtype=np.str_),
            categories=np.array(list(self.categories), dtype=np.str_),
            idf=self.idf,
            coefficients=self.coefficients,
            intercepts=self.intercepts,
        )
        return file.getvalue()

    @classmethod
    def unpack(cls, body: bytes) -> Weights:
        with np.load(io.BytesIO(body), allow_pickle=False) as file:
            told = json.loads(str(file["settings"]))
            exclusive = bool(told.pop("exclusive"))
            return cls(
                settings=Settings(**told),
                terms=[str(term) for term in file["terms"]],
                idf=file["idf"],
                coefficients=file["coefficients"],
                intercepts=file["intercepts"],
                categories=[str(value) for value in file["categories"]],
                exclusive=exclusive,
            )


def learn(texts: Sequence[str], answers: Sequence[str], scale: Scale, settings: Settings) -> Weights:
    """Fit on texts and canonical answers. Raises NotComparable where there is nothing to tell apart."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    vectorizer = settings.vectorizer(max_features=settings.most_terms, min_df=2 if len(texts) >= 100 else 1)
    try:
        matrix = vectorizer.fit_transform(texts)
    except ValueError as error:  # scikit-learn's word for texts without a single term
        raise NotComparable("no_words", "the texts have no words to learn from", field="dataset") from error
    exclusive = scale.kind != "multilabel"
    if exclusive:
        found = [value for value in scale.values if value in set(answers)]
        _check_two(found)
        model = LogisticRegression(C=settings.strength, **SEEDLESS).fit(matrix, list(answers))
        order = [list(model.classes_).index(value) for value in found]
        both = len(found) == 2
        rows = np.vstack([-model.coef_, model.coef_])[order] / 2 if both else model.coef_[order]
        starts = np.concatenate([-model.intercept_, model.intercept_])[order] / 2 if both else model.intercept_[order]
    else:
        sets = [set(json.loads(answer)) for answer in answers]
        found = [value for value in scale.values if 0 < sum(value in labels for labels in sets) < len(sets)]
        _check_two([*found, ""] if found else [])
        models = [
            LogisticRegression(C=settings.strength, **SEEDLESS).fit(matrix, [value in labels for labels in sets])
            for value in found
        ]
        rows = np.vstack([model.coef_ for model in models])
        starts = np.concatenate([model.intercept_ for model in models])
    terms = [str(term) for term in vectorizer.get_feature_names_out()]
    return Weights(settings, terms, vectorizer.idf_, rows, starts, found, exclusive)


def _check_two(found: Sequence[str]) -> None:
    if len(found) < 2:
        raise NotComparable("one_category", "the gold has one answer only: there is nothing to learn", field="dataset")


@dataclass(frozen=True, slots=True)
class Trained:
    """Runs weights."""

    weights: Weights
    vectorizer: TfidfVectorizer
    reads: str = "customer"

    @classmethod
    def of(cls, weights: Weights, reads: str = "customer") -> Trained:
        vectorizer = weights.settings.vectorizer(vocabulary={term: place for place, term in enumerate(weights.terms)})
        vectorizer.idf_ = weights.idf
        return cls(weights, vectorizer, reads)

    @classmethod
    def pinned(cls, version: ClassifierVersion, scale: Scale) -> Trained:
        sha256 = version.parameters.get("artefact_sha256", "")
        body = Artefact.objects.filter(sha256=sha256).values_list("body", flat=True).first()
        if body is None:
            raise NotComparable(
                "no_artefact", f"{version} was fitted elsewhere: its artefact is not here", field="version"
            )
        if hashlib.sha256(bytes(body)).hexdigest() != sha256:
            raise NotComparable(
                "other_artefact", f"the artefact of {version} is not what it is pinned by", field="version"
            )
        weights = Weights.unpack(bytes(body))
        unknown = [value for value in weights.categories if value not in scale.values]
        if unknown:
            raise NotComparable("other_categories", f"the signal has no {unknown[0]!r} any more", field="version")
        return cls.of(weights, version.parameters.get("reads", "customer"))

    def score(self, text: Text) -> Answer:
        start = time.perf_counter()
        read = text.read(self.reads)
        if not read.strip():
            return Answer(status="missing", rationale=f"there is no text to read ({self.reads})")
        weights = self.weights
        logits = np.asarray(self.vectorizer.transform([read]) @ weights.coefficients.T)[0] + weights.intercepts
        chances = special.softmax(logits) if weights.exclusive else special.expit(logits)
        probabilities = {
            value: round(float(chance), 6) for value, chance in zip(weights.categories, chances, strict=True)
        }
        value: Any = weights.categories[int(chances.argmax())]
        if not weights.exclusive:
            value = [label for label, chance in probabilities.items() if chance >= 0.5]
        score = float(chances.max())
        return Answer(value, score=score, probabilities=probabilities, seconds=time.perf_counter() - start)
