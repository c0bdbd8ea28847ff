"""Figures of retrieval against scikit-learn, and against a statement in NumPy where scores are equal, which scikit-learn treats in another way: it puts all
rows of a score at once, we take the mean over their orders. On unbalanced categories, some of which the gallery lacks."""
import itertools
import statistics

import numpy
import torch
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score

from probe import check, finish, probe

CUTOFFS, RECALL = [1, 5, 15, 50, 100, 200], [1, 5, 10, 300]


def unbalanced(count, categories):
    """Category c is drawn 2 c + 1 times as often as category 0."""
    return numpy.sqrt(numpy.random.randint(0, categories**2, count)).astype(numpy.int64)


def measured(scores, query_labels, gallery_labels):
    """By features that have exactly these scores."""
    tensors = {"queries": torch.from_numpy(scores), "gallery": torch.eye(scores.shape[1]), "query_labels": torch.from_numpy(query_labels),
               "gallery_labels": torch.from_numpy(gallery_labels)}
    return probe("measures", tensors, cutoffs=CUTOFFS[:3], further_cutoffs=CUTOFFS[3:], recall=RECALL)


def arrangements(right, tied):
    """All ways to place the right rows of a tie."""
    for places in itertools.combinations(range(tied), right):
        yield [place in places for place in range(tied)]


def added(part, before, found, k):
    """What these rows add to a figure, behind `before` others of which `found` are right: precision at right ones, or right ones among the first k."""
    total = 0
    for place, is_right in enumerate(part, before + 1):
        found += is_right
        total += is_right and (found / place if k is None else place <= k)
    return total


def over_orders(scores, right, k):
    """The mean over all orders of equal scores: one tie after the other, since none depends on how another lies."""
    order = numpy.argsort(-scores, kind="stable")
    scores, right = scores[order], right[order].tolist()
    total, begin, found = 0, 0, 0
    while begin < len(right):
        end = begin + int(numpy.searchsorted(-scores[begin:], -scores[begin], side="right"))
        here = sum(right[begin:end])
        total += statistics.mean(added(part, begin, found, k) for part in arrangements(here, end - begin)) if here else 0
        begin, found = end, found + here
    return total


def chance_of_one(scores, right, k):
    """The chance that one of the first k is right, over all orders of equal scores."""
    order = numpy.argsort(-scores, kind="stable")
    scores, right, k = scores[order], right[order], min(k, len(right))
    begin, end = int((scores > scores[k - 1]).sum()), int((scores >= scores[k - 1]).sum())
    if right[:begin].any():
        return 1
    return statistics.mean(any(part[:k - begin]) for part in arrangements(int(right[begin:end].sum()), end - begin))


def test(name, scores, query_labels, gallery_labels, average_precision):
    ours = measured(scores, query_labels, gallery_labels)
    relevant = [gallery_labels == label for label in query_labels]
    there = [query for query in range(len(scores)) if relevant[query].any()]
    wanted = {"map": [average_precision(scores[q], relevant[q]) for q in there]}
    for k in CUTOFFS:
        possible = [min(k, int(relevant[q].sum())) for q in there]
        wanted[f"prec@{k}"] = [over_orders(scores[q], relevant[q], most) for q, most in zip(there, possible)]
        check(f"{name}: possible at {k}", ours[f"possible.prec@{k}"], torch.tensor(possible), 0)
    for k in RECALL:
        wanted[f"recall@{k}"] = [chance_of_one(scores[q], relevant[q], k) for q in there]
    for figure, theirs in wanted.items():
        check(f"{name}: {figure} of each query", ours["correct." + figure], torch.tensor(theirs, dtype=torch.double), 1e-12)
    check(f"{name}: Recall@1 is Prec@1", ours["correct.recall@1"], ours["correct.prec@1"], 1e-12)
    return ours["correct.map"].mean(), there, numpy.array(relevant)[there]


numpy.random.seed(7)
query_labels, gallery_labels = unbalanced(301, 9), unbalanced(1003, 7)
scores = numpy.random.permutation(301 * 1003).reshape(301, 1003).astype(numpy.float32)  # all different
mean, there, relevant = test("no ties", scores, query_labels, gallery_labels, lambda of_query, right: average_precision_score(right, of_query))
check("no ties: the mean is scikit-learn's of label ranking", mean, torch.tensor(label_ranking_average_precision_score(relevant, scores[there]), dtype=torch.double),
      1e-12)

query_labels, gallery_labels = unbalanced(133, 6), unbalanced(97, 4)
scores = numpy.random.randint(0, 30, (133, 97)).astype(numpy.float32)
test("ties", scores, query_labels, gallery_labels, lambda of_query, right: over_orders(of_query, right, None) / right.sum())
scores = numpy.random.randint(0, 2, (133, 13)).astype(numpy.float32)
test("hardly a difference", scores, query_labels, unbalanced(13, 4), lambda of_query, right: over_orders(of_query, right, None) / right.sum())
finish()
