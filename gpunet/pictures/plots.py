"""Pictures of runs, networks and data as matplotlib figures, which a notebook shows and `save` writes.

Needs the extra `plot`; matplotlib is loaded when a picture is drawn. `save(figure, "curves.svg")` writes a figure.
Lines carry their names at their ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.checks import needs
from gpunet.data.dataset import DATASET_WANTED, Dataset
from gpunet.data.split import Split
from gpunet.keywords import checked
from gpunet.network.evaluation import Evaluation
from gpunet.network.mlp import MLP
from gpunet.network.predictor import Predictor
from gpunet.pictures.confusion import Confusion
from gpunet.pictures.curves import Curves, as_histories
from gpunet.pictures.examples import Examples
from gpunet.pictures.mistakes import Mistakes
from gpunet.pictures.picture import Picture, Subject
from gpunet.pictures.style import save
from gpunet.pictures.weights import Weights

__all__ = ["PICTURES", "confusion", "curves", "examples", "mistakes", "save", "weights"]

#: The pictures of runs by name: `gpunet plot` has an option for each, and a report a section.
PICTURES: dict[str, type[Picture]] = {kind.name: kind for kind in (Curves, Confusion, Mistakes, Weights)}


@checked
def curves(
    runs: Any,
    *,
    labels: Sequence[str] | None = None,
    log: bool = False,
    smooth: int | None = None,
    title: str | None = None,
) -> Any:
    """Loss, metrics and, where it changes, the learning rate of one or many runs over the iterations.

    Of one run: the training batches (thin), their moving mean, the validation and the test result. Of many:
    one colour a run, the validation (or, without one, the mean of the training batches) as a bold line; of more than
    can be told apart the best are coloured and named, and the others are thin and grey.

    Args:
        runs: a `TrainingResult`, a `History`, records, or a list or a dict of histories or results.
        labels: what to call the runs, one for each.
        log: a logarithmic axis for the loss.
        smooth: neighbours on either side in the moving mean; by default one for every 50 records.

    Raises:
        MissingExtra: matplotlib is not installed.
        DataError: there are no records.
        UsageError: there are not as many labels as runs.
    """
    return Curves(as_histories(runs, labels), log=log, smooth=smooth, title=title).figure()


@checked
def confusion(
    evaluation: Evaluation | np.ndarray, class_names: Sequence[str] | None = None, *, title: str | None = None
) -> Any:
    """The confusion matrix: rows the true class, columns the answer; mistakes stand out by colour.

    Args:
        evaluation: an `Evaluation`, or (k, k) counts.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    return Confusion(evaluation, class_names, title).figure()


def weights(model: MLP, *, units: int | None = None, title: str | None = None) -> Any:
    """What the neurons of the first layer look for: the weights into each as a picture of the input's shape.

    Blue weights speak against the neuron, orange ones for it; all share one scale. Of more than `units` neurons
    (by default 64) those with the longest weight vectors are shown.

    Raises:
        MissingExtra: matplotlib is not installed.
        DataError: the inputs are no pictures.
    """
    return Weights(model, units, title).figure()


def mistakes(model: Predictor, split: Split, *, count: int | None = None, title: str | None = None) -> Any:
    """The examples that a model gets wrong, those with the highest loss first, with the answer and its probability.

    Args:
        split: examples with their classes, such as `data.test`.
        count: how many, by default 24.

    Raises:
        MissingExtra: matplotlib is not installed.
        DataError: there is no mistake to show, or the examples are no pictures.
    """
    return Mistakes(Subject("", model=model, split=split, split_name=""), count, title).figure()


@checked
def examples(
    data: Dataset, *, split: str = "train", of_class: str | None = None, count: int | None = None, seed: int = 0
) -> Any:
    """Examples of a data set drawn at random, as many of each class as there are to be had, in the order of classes.

    Args:
        data: a `Dataset` of pictures.
        split: "train", "validation" or "test".
        of_class: the name of the only class to show.
        count: how many, by default 100.
        seed: another one shows other examples.

    Raises:
        MissingExtra: matplotlib is not installed.
        UsageError: there is no such split or class.
        DataError: the examples are no pictures, or the class has none.
    """
    needs(data, "splits", DATASET_WANTED)
    return Examples(data, split=split, of_class=of_class, count=count, seed=seed).figure()
