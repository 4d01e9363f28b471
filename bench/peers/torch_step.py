"""PyTorch on the CPU, one thread: the same cases as the other engines, over the same lines of JSON."""

import json
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

torch.set_num_threads(1)
OUT = os.fdopen(3, "w")


def reply(**message):
    OUT.write(json.dumps(message) + "\n")
    OUT.flush()


def values(spec):
    """The same numbers as `values` in cases.ts."""
    n = int(np.prod(spec["shape"])) if spec["shape"] else 1
    if spec["kind"] == "const":
        return torch.full(spec["shape"], float(spec["value"]))
    seed = (spec["seed"] * 0x9E3779B1) & 0xFFFFFFFF
    mask = np.uint64(0xFFFFFFFF)
    x = (np.arange(n, dtype=np.uint64) + np.uint64(seed)) & mask
    x = ((x ^ (x >> np.uint64(16))) * np.uint64(0x85EBCA6B)) & mask
    x = ((x ^ (x >> np.uint64(13))) * np.uint64(0xC2B2AE35)) & mask
    x = x ^ (x >> np.uint64(16))
    if spec["kind"] == "ids":
        data = (x % np.uint64(spec["below"])).astype(np.int64)
    else:
        data = ((x.astype(np.float64) / 2**31 - 1) * spec.get("scale", 1)).astype(np.float32)
    return torch.from_numpy(data.reshape(spec["shape"]))


def attention(q, k, v):
    T = q.shape[2]
    mask = torch.ones(T, T, dtype=torch.bool).triu(1)
    scores = (q @ k.transpose(-1, -2)) * q.shape[3] ** -0.5
    return scores.masked_fill(mask, float("-inf")).softmax(-1) @ v


def with_grad(fn, leaves, g=None):
    leaves = [t.detach().requires_grad_() for t in leaves]
    out = fn(*leaves)
    return [out.detach(), *torch.autograd.grad(out, leaves, g)]


OPS = {
    "matmul": lambda a, b: [a @ b],
    "softmax": lambda x: [x.softmax(-1)],
    "layerNorm": lambda x, w, b: [F.layer_norm(x, x.shape[1:], w, b)],
    "layerNormGrad": lambda x, w, b, g: with_grad(
        lambda x, w, b: F.layer_norm(x, x.shape[1:], w, b), [x, w, b], g
    ),
    "crossEntropy": lambda x, t: [F.cross_entropy(x, t)],
    "crossEntropyGrad": lambda x, t: with_grad(lambda x: F.cross_entropy(x, t), [x]),
    "attention": lambda q, k, v: [attention(q, k, v)],
    "attentionGrad": lambda q, k, v, g: with_grad(attention, [q, k, v], g),
    "embeddingGrad": lambda w, ids, g: with_grad(lambda w: F.embedding(ids, w), [w], g)[1:],
}


def decode(case, inputs):
    p = {spec["name"]: t for spec, t in zip(case["inputs"], inputs)}
    c = case["config"]
    C, heads = c["dim"], c["heads"]
    norm = lambda x, name: F.layer_norm(x, [C], p[name + ".weight"], p[name + ".bias"])
    linear = lambda x, name: F.linear(x, p[name + ".weight"], p[name + ".bias"])
    with torch.no_grad():
        x = p["head.weight"][p["token"]] + p["positions.weight"][-1:]
        for i in range(c["layers"]):
            block = f"blocks.{i}"
            qkv = linear(norm(x, block + ".ln1"), block + ".attention.qkv")
            q, k, v = qkv.reshape(3, heads, 1, C // heads).unbind(0)
            k, v = torch.cat([p["keys"][i], k], 1), torch.cat([p["values"][i], v], 1)
            y = torch.softmax(q @ k.transpose(1, 2) / (C // heads) ** 0.5, -1) @ v
            x = x + linear(y.reshape(1, C), block + ".attention.proj")
            x = x + linear(F.gelu(linear(norm(x, block + ".ln2"), block + ".up"), approximate="tanh"), block + ".down")
        return [F.linear(norm(x, "norm"), p["head.weight"])]


class Op:
    def __init__(self, case):
        self.repeat = case["repeat"]
        self.inputs = [values(spec) for spec in case["inputs"]]
        self.fn = (lambda *x: decode(case, x)) if case["kind"] == "decode" else OPS[case["kind"]]

    def check(self):
        return [t.reshape(-1).tolist() for t in self.fn(*self.inputs)]

    def iterate(self):
        for _ in range(self.repeat):
            out = self.fn(*self.inputs)
        out[-1].reshape(-1)[0].item()


class Step:
    def __init__(self, case):
        self.case = case
        specs = case["inputs"]
        self.p = {s["name"]: values(s).requires_grad_() for s in specs[:-2]}
        self.ids, self.targets = (values(s) for s in specs[-2:])
        parameters = list(self.p.values())
        lr = case["lr"]
        self.optimizer = (
            torch.optim.SGD(parameters, lr=lr) if case["optimizer"] == "sgd" else torch.optim.Adam(parameters, lr=lr)
        )
        if case["kind"] == "lstmStep":
            c = case["config"]
            self.lstm = torch.nn.LSTM(c["embedding"], c["hidden"], batch_first=True)
            for name in list(self.lstm._parameters):
                self.lstm._parameters[name] = self.p["lstm." + name] = torch.nn.Parameter(self.p["lstm." + name].detach())
            self.lstm._flat_weights = [self.lstm._parameters[n] for n in self.lstm._flat_weights_names]
            self.optimizer = torch.optim.Adam(list(self.p.values()), lr=lr)

    def loss(self):
        p = self.p
        if self.case["kind"] == "lstmStep":
            hidden, _ = self.lstm(F.embedding(self.ids, p["embedding.weight"]))
            logits = F.linear(hidden, p["head.weight"], p["head.bias"])
        else:
            logits = self.transformer()
        return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), self.targets.reshape(-1))

    def transformer(self):
        p, config = self.p, self.case["config"]
        heads = config["heads"]
        x = F.embedding(self.ids, p["tokens.weight"]) + p["positions.weight"]
        B, T, C = x.shape
        norm = lambda x, name: F.layer_norm(x, [C], p[name + ".weight"], p[name + ".bias"])
        linear = lambda x, name: F.linear(x, p[name + ".weight"], p[name + ".bias"])
        for i in range(config["layers"]):
            block = f"blocks.{i}"
            qkv = linear(norm(x, block + ".ln1"), block + ".attention.qkv")
            q, k, v = qkv.reshape(B, T, 3, heads, C // heads).permute(2, 0, 3, 1, 4).unbind(0)
            y = attention(q, k, v).permute(0, 2, 1, 3).reshape(B, T, C)
            x = x + linear(y, block + ".attention.proj")
            h = F.gelu(linear(norm(x, block + ".ln2"), block + ".up"), approximate="tanh")
            x = x + linear(h, block + ".down")
        return norm(x, "norm") @ p["head.weight"].t()

    def iterate(self):
        loss = self.loss()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def check(self):
        return [[self.iterate() for _ in range(3)]]


def sample(data):
    step = max(1, len(data) // 2048)
    return data[::step] + [sum(data) / len(data)]


def answer(prepared, request):
    start = time.perf_counter()
    if request["type"] == "check":
        outputs = prepared.check()
        return {"type": "checked", "firstMs": (time.perf_counter() - start) * 1000, "outputs": [sample(o) for o in outputs]}
    cpu = time.process_time()
    for _ in range(request["iterations"]):
        prepared.iterate()
    return {
        "type": "ran",
        "ms": (time.perf_counter() - start) * 1000,
        "cpuMs": (time.process_time() - cpu) * 1000,
    }


def main():
    info = {"name": "PyTorch", "version": torch.__version__, "device": "CPU, one thread"}
    reply(type="ready", info=info, startMs=0)
    prepared = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["type"] == "exit":
                return
            if request["type"] == "prepare":
                case = request["case"]
                prepared = Step(case) if case["kind"].endswith("Step") else Op(case)
                reply(type="prepared")
            elif request["type"] == "dispose":
                prepared = None
                reply(type="disposed")
            else:
                reply(**answer(prepared, request))
        except Exception as error:  # the bench reports it and goes on
            reply(type="failed", message=f"{type(error).__name__}: {error}")


main()
