"""Lesson 13: tuning without looking at the test set.

Whoever tries many settings and keeps the one that does best on the test set has fitted the settings to the test set,
and its accuracy says no longer what the network does on new images. So a part of the training set is held out: the
settings are chosen on it, and the test set is looked at once, at the end.
"""

from drawing import save_picture

import gpunet as gn

data = gn.load_dataset("mnist-5k").hold_out(500)
sweep = gn.Sweep(
    {"iterations": 250, "device": "cpu"},
    {"hidden": ["10", "50", "100,50"], "lr": [0.03, 0.1, 0.3]},
    data=data,
)
for trial in sweep.run():
    print(f"hidden {trial.varied['hidden']:7} lr {trial.varied['lr']:5} validation {trial.validation_accuracy:.4f}")

chosen = sweep.choose()
print(f"\nchosen: hidden {chosen.varied['hidden']}, learning rate {chosen.varied['lr']}")
(accuracy,) = sweep.measure([chosen])
print(f"validation {chosen.spread('validation_accuracy')}, test, looked at once: {accuracy:.4f}")

# Early stopping is tuning too: it chooses the number of steps, by the validation loss.
model = gn.MLP([784, 100, 10])
result = gn.train(model, data, optimizer=gn.Momentum(0.1), iterations=1500, early_stopping=5)
print(f"\n{result.stopped} at step {result.iterations}; the best weights were those of step {result.best_iteration}:")
print(
    f"train {result.train_accuracy:.4f}, validation {result.validation_accuracy:.4f}, test {result.test_accuracy:.4f}"
)

save_picture(gn.plot_history, result, title="Early stopping")
