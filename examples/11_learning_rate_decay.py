"""Lesson 11: a learning rate that decays.

Large steps get near a minimum fast and then jump about it; small ones settle and take forever to arrive. A schedule
begins with large steps and ends with small ones. A schedule stands in the place of the learning rate.
"""

from drawing import save_picture

import gpunet as gn

data = gn.load_dataset("mnist-5k").hold_out(500)
STEPS = 500
results = {}

print("schedule                first rate  last rate   train loss  validation")
for title, rate in (
    ("constant 0.02", 0.02),
    ("constant 0.5", 0.5),
    ("halved every 125 steps", gn.schedules.Step(0.5, every=125, factor=0.5)),
    ("exponential", gn.schedules.Exponential(0.5, every=125, factor=0.5)),
    ("inverse time", gn.schedules.InverseTime(0.5, every=125)),
    ("cosine", gn.schedules.Cosine(0.5)),
    ("cosine, warmed up", gn.schedules.Cosine(0.5, warmup=50)),
):
    model = gn.MLP([784, 50, 30, 10])
    results[title] = result = gn.train(model, data, optimizer=gn.SGD(rate), iterations=STEPS, log_every=1)
    first, last = result.history[0].learning_rate, result.history[-1].learning_rate
    print(f"{title:24}{first:9.4f}  {last:9.4f}   {result.train_loss:10.4f}  {result.validation_accuracy:10.4f}")

save_picture(gn.plot_history, results, title="Schedules")
