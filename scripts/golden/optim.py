"""Writes test/golden/nn-optim.json: optimizers, clipping and schedulers of PyTorch, in float64.

    /usr/bin/python3 scripts/golden/optim.py
"""
import json
import math
import os
import warnings

import torch

warnings.filterwarnings("ignore")
torch.set_default_dtype(torch.float64)
OUT = os.path.join(os.path.dirname(__file__), "../../test/golden/nn-optim.json")
SHAPES = [[3, 2], [5], []]
STEPS = 6

gen = torch.Generator().manual_seed(1)


def values(shape):
    # Multiples of 1/64 are exact in every floating-point dtype.
    return torch.round(torch.randn(shape, generator=gen) * 64) / 64


def flat(tensors):
    return [t.detach().reshape(-1).tolist() for t in tensors]


start = [values(s) for s in SHAPES]
grads = [[values(s) for s in SHAPES] for _ in range(STEPS)]
# The last parameter gets no gradient at step 3: its own count of steps falls behind.
SKIP = (2, 2)


def run(make):
    params = [torch.nn.Parameter(t.clone()) for t in start]
    optimizer = make(params)
    history = []
    for i in range(STEPS):
        for j, p in enumerate(params):
            p.grad = None if (i, j) == SKIP else grads[i][j].clone()
        optimizer.step()
        history.append(flat(params))
    return history


OPTIMIZERS = [
    ("SGD", dict(lr=0.1)),
    ("SGD", dict(lr=0.1, weight_decay=0.2)),
    ("SGD", dict(lr=0.1, momentum=0.9)),
    ("SGD", dict(lr=0.1, momentum=0.8, dampening=0.5, weight_decay=0.1)),
    ("SGD", dict(lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01)),
    ("Adam", dict()),
    ("Adam", dict(lr=0.1, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1)),
    ("AdamW", dict(lr=0.1)),
    ("AdamW", dict(lr=0.02, betas=(0.5, 0.7), eps=1e-2, weight_decay=0.5)),
]


def camel(name):
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)


optimizers = [
    {
        "name": name,
        "options": {camel(k): v for k, v in options.items()},
        "history": run(lambda params: getattr(torch.optim, name)(params, **options)),
    }
    for name, options in OPTIMIZERS
]


def clip(max_norm):
    params = [torch.nn.Parameter(t.clone()) for t in start]
    for p, g in zip(params, grads[0]):
        p.grad = g.clone()
    norm = torch.nn.utils.clip_grad_norm_(params, max_norm)
    return {"maxNorm": max_norm, "norm": norm.item(), "grads": flat([p.grad for p in params])}


def lrs(make, steps, optimizer="SGD", metrics=None):
    groups = [
        {"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.5},
        {"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.125},
    ]
    opt = torch.optim.SGD(groups, lr=1, momentum=0.9) if optimizer == "SGD" else torch.optim.Adam(groups)
    scheduler = make(opt)
    key = "momentum" if optimizer == "SGD" else "betas"
    seen = []
    for i in range(steps):
        seen.append(
            {
                "lr": [g["lr"] for g in opt.param_groups],
                "momentum": [g[key] if key == "momentum" else g[key][0] for g in opt.param_groups],
            }
        )
        opt.step()
        scheduler.step(*([] if metrics is None else [metrics[i]]))
    return seen


S = torch.optim.lr_scheduler
METRICS = [3, 2, 2, 2, 1.9999, 2.5, 2.5, 1, 1, 1, 1, 1, 1, 1]


def warmup_cosine(step, warm=4, total=12):
    if step < warm:
        return step / warm
    progress = (step - warm) / (total - warm)
    return max(0.0, 0.5 * (1 + math.cos(math.pi * min(progress, 1))))


def noam(step, dim=16, warm=4):
    n = step + 1
    return dim**-0.5 * min(n**-0.5, n * warm**-1.5)


def plateau(opt, **kwargs):
    return S.ReduceLROnPlateau(opt, **kwargs)


schedulers = {
    "step": lrs(lambda o: S.StepLR(o, 3, 0.5), 10),
    "cosine": lrs(lambda o: S.CosineAnnealingLR(o, 8, 0.01), 9),
    "lambda": lrs(lambda o: S.LambdaLR(o, [lambda e: 1 / (1 + e), lambda e: 0.9**e]), 6),
    "warmupCosine": lrs(lambda o: S.LambdaLR(o, warmup_cosine), 14),
    "noam": lrs(lambda o: S.LambdaLR(o, noam), 12),
    "oneCycle": lrs(lambda o: S.OneCycleLR(o, max_lr=[1, 0.25], total_steps=10), 10),
    "oneCycleLinear": lrs(
        lambda o: S.OneCycleLR(o, max_lr=0.5, total_steps=12, pct_start=0.25, anneal_strategy="linear", div_factor=10),
        12,
        "Adam",
    ),
    "plateau": lrs(lambda o: plateau(o, factor=0.5, patience=2), 14, metrics=METRICS),
    "plateauMax": lrs(
        lambda o: plateau(
            o, mode="max", factor=0.3, patience=0, threshold=0.5, threshold_mode="abs", cooldown=2, min_lr=0.02
        ),
        14,
        metrics=METRICS,
    ),
}

with open(OUT, "w") as f:
    json.dump(
        {
            "torch": torch.__version__,
            "shapes": SHAPES,
            "skip": SKIP,
            "start": flat(start),
            "grads": [flat(g) for g in grads],
            "optimizers": optimizers,
            "clip": [clip(1.0), clip(100.0)],
            "metrics": METRICS,
            "schedulers": schedulers,
        },
        f,
    )
    f.write("\n")
