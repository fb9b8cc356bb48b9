"""Lesson 10: other optimizers than plain gradient descent.

All of them go downhill by the gradient. Momentum remembers where it was going; Adagrad, RMSprop and Adam give each
parameter a step width of its own; Lion takes steps of one length. Each has its own learning rate to start from.
"""

from drawing import save_picture

import gpunet as gn

data = gn.load_dataset("mnist-5k").hold_out(500)
results = {}

print("optimizer     lr   loss after 100, 300, 500 steps   validation")
for name, optimizer in gn.OPTIMIZERS.items():
    model = gn.MLP([784, 50, 30, 10])
    made = optimizer()
    results[name] = result = gn.train(model, data, optimizer=made, iterations=500, log_every=100)
    losses = {record.iteration: record.loss for record in result.history}
    shown = "  ".join(f"{losses[step]:.4f}" for step in (100, 300, 500))
    print(f"{name:9} {made.learning_rate:6}   {shown}              {result.validation_accuracy:.4f}")

save_picture(gn.plot_history, results, title="Optimizers")
