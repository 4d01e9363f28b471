"""Writes test/golden/nn-modules.json: outputs and gradients of PyTorch's recurrent layers and attention, in float64.

    /usr/bin/python3 scripts/golden/nn.py

Weights and inputs are formulas that test/nn/formulas.ts repeats, so that only results are stored.
"""
import json
import os

import torch

torch.set_default_dtype(torch.float64)
OUT = os.path.join(os.path.dirname(__file__), "../../test/golden/nn-modules.json")


def wave(shape, seed, scale=1.0):
    """scale · sin(1.7 i + 0.9 seed) for i = 0, 1, … in row-major order."""
    n = 1
    for s in shape:
        n *= s
    return (scale * torch.sin(1.7 * torch.arange(n) + 0.9 * seed)).reshape(shape)


def fill(module):
    with torch.no_grad():
        for k, p in enumerate(module.parameters()):
            p.copy_(wave(p.shape, k, 0.4))


def digits(t):
    return [float(f"{v:.9g}") for v in t.detach().reshape(-1).tolist()]


def case(module, inputs, call, train=False):
    """The loss is the sum of all outputs, each weighted by a wave."""
    fill(module)
    module.zero_grad()
    inputs = [t.clone().requires_grad_() for t in inputs]
    outputs = [t for t in call(*inputs) if t is not None]
    loss = sum((y * wave(y.shape, 50 + i)).sum() for i, y in enumerate(outputs))
    loss.backward()
    result = {
        "state": list(module.state_dict()),
        "outputs": [{"shape": list(y.shape), "data": digits(y)} for y in outputs],
        "inputGradients": [digits(t.grad) for t in inputs],
        "gradients": {name: digits(p.grad) for name, p in module.named_parameters()},
    }
    if train:
        result["losses"] = losses(module, [t.detach() for t in inputs], call)
    return result


def losses(module, inputs, call):
    """Ten steps of AdamW toward a wave."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)
    out = []
    for _ in range(10):
        y = call(*inputs)[0]
        loss = torch.nn.functional.mse_loss(y, wave(y.shape, 60))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        out.append(float(f"{loss.item():.9g}"))
    return out


def flat(result):
    out = []
    for r in result:
        out.extend(flat(r) if isinstance(r, tuple) else [r])
    return out


T, B, I, H = 5, 3, 4, 3
LENGTHS = [3, 5, 1, 3]


def packed(module, lstm, batch_first):
    """Sequences of LENGTHS from states: packed results, the same padded, and the last states."""

    def call(x, *s):
        steps = torch.nn.utils.rnn.pack_padded_sequence(x, LENGTHS, batch_first, enforce_sorted=False)
        y, h = module(steps, s if lstm else s[0])
        padded, lengths = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first, padding_value=0.5)
        assert lengths.tolist() == LENGTHS
        return [y.data, padded, *(h if lstm else [h])]

    return call


cases = {}
for name, make in [
    ("LSTM", torch.nn.LSTM),
    ("GRU", torch.nn.GRU),
    ("RNN", torch.nn.RNN),
    ("RNN relu", lambda *a, **k: torch.nn.RNN(*a, nonlinearity="relu", **k)),
]:
    lstm = name == "LSTM"
    for what, options in [
        ("one layer", dict()),
        ("two layers, bidirectional", dict(num_layers=2, bidirectional=True)),
        ("batch first, no bias", dict(batch_first=True, bias=False)),
    ]:
        module = make(I, H, **options)
        x = wave((B, T, I) if "batch_first" in options else (T, B, I), 20)
        cases[f"{name}, {what}"] = case(module, [x], lambda x: flat(module(x)), "num_layers" in options)
        if "num_layers" in options:
            n = 4
            states = [wave((n, B, H), 21 + i) for i in range(2 if lstm else 1)]
            cases[f"{name}, {what}, from a state"] = case(
                module, [x, *states], lambda x, *s: flat(module(x, s if lstm else s[0]))
            )
    for what, options in [
        ("one layer", dict()),
        ("two layers, bidirectional, batch first", dict(num_layers=2, bidirectional=True, batch_first=True)),
    ]:
        module = make(I, H, **options)
        n = 4 if "num_layers" in options else 1
        shape = (len(LENGTHS), T, I) if "batch_first" in options else (T, len(LENGTHS), I)
        states = [wave((n, len(LENGTHS), H), 21 + i) for i in range(2 if lstm else 1)]
        cases[f"{name}, packed, {what}"] = case(
            module, [wave(shape, 20), *states], packed(module, lstm, "batch_first" in options)
        )
    module = make(I, H)
    cases[f"{name}, unbatched"] = case(module, [wave((T, I), 20)], lambda x: flat(module(x)))

E, HEADS, S = 6, 2, 4
MHA = torch.nn.MultiheadAttention


def mha(what, inputs, call, **options):
    module = MHA(E, HEADS, **options)
    cases[f"MHA, {what}"] = case(module, inputs, lambda *a: list(call(module, *a)), what == "self")


x = lambda shape=(T, B, E), seed=30: wave(shape, seed)  # noqa: E731
causal = torch.triu(torch.ones(T, T, dtype=torch.bool), 1)
padding = torch.tensor([[False] * 5, [False, False, False, True, True], [False, True, False, False, True]])
mha("self", [x()], lambda m, q: m(q, q, q))
mha("self, one weight per head", [x()], lambda m, q: m(q, q, q, average_attn_weights=False))
mha("cross", [x(), x((S, B, E), 31), x((S, B, E), 32)], lambda m, q, k, v: m(q, k, v))
mha("causal", [x()], lambda m, q: m(q, q, q, attn_mask=causal, need_weights=False))
mha(
    "causal with padding, batch first",
    [x((B, T, E))],
    lambda m, q: m(q, q, q, attn_mask=causal, key_padding_mask=padding),
    batch_first=True,
)
mha(
    "an additive mask for each head",
    [x(), wave((B * HEADS, T, T), 33)],
    lambda m, q, mask: m(q, q, q, attn_mask=mask),
)
mha(
    "other widths of keys and values, no bias",
    [x(), x((S, B, 4), 31), x((S, B, 5), 32)],
    lambda m, q, k, v: m(q, k, v),
    kdim=4,
    vdim=5,
    bias=False,
)
mha("unbatched", [x((T, E))], lambda m, q: m(q, q, q))

with open(OUT, "w") as f:
    json.dump({"torch": torch.__version__, "cases": cases}, f)
    f.write("\n")
