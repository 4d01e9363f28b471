"""Golden values of the Transformer with encoder and decoder, made with torch.nn.Transformer in float64.

Memory, output, all gradients and four Adam losses: pre- and post-norm, relu and gelu, padding in
source and target, a causal mask, tied and free embeddings, sinusoidal and learned positions. Weights are not stored:
element i of parameter k is 0.2·sin(1.7·i + k), plus 1 for the scales of layer norms, here and in
test/models/transformer-parity.test.ts. Writes test/golden/transformer.json. Made with PyTorch 1.13.1.

    /usr/bin/python3 scripts/golden/transformer.py
"""
import json
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)

DIM, HEADS, INNER, LAYERS, LENGTH, PAD = 8, 2, 12, 2, 7, 0
SOURCE_VOCAB, TARGET_VOCAB = 11, 9
# One case of each pair of choices.
CASES = {
    "postRelu": dict(norm="post", activation="relu", positions="sinusoidal", tied=False, smoothing=0.1),
    "postGelu": dict(norm="post", activation="gelu", positions="learned", tied=True, smoothing=0.0),
    "preRelu": dict(norm="pre", activation="relu", positions="learned", tied=False, smoothing=0.0),
    "preGelu": dict(norm="pre", activation="gelu", positions="sinusoidal", tied=True, smoothing=0.1),
}
SOURCE = [[3, 5, 7, 2, 8, 1], [4, 4, 6, 0, 0, 0], [1, 2, 3, 4, 5, 0]]
TARGET = [[1, 4, 7, 3, 6, 2], [1, 5, 2, 0, 0, 0], [1, 8, 8, 3, 2, 0]]


def sinusoids(length, dim):
    p = torch.arange(length, dtype=torch.float64)[:, None]
    angle = p / 10_000 ** (torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    return torch.stack([angle.sin(), angle.cos()], -1).reshape(length, dim)


class Model(nn.Module):
    def __init__(self, norm, activation, positions, tied, smoothing):
        super().__init__()
        vocab = TARGET_VOCAB if tied else SOURCE_VOCAB
        self.smoothing = smoothing
        self.src_embed = nn.Embedding(vocab, DIM)
        self.tgt_embed = self.src_embed if tied else nn.Embedding(TARGET_VOCAB, DIM)
        if positions == "learned":
            self.src_pos, self.tgt_pos = nn.Embedding(LENGTH, DIM), nn.Embedding(LENGTH, DIM)
        else:
            self.waves = sinusoids(LENGTH, DIM)
        whole = nn.Transformer(
            DIM, HEADS, LAYERS, LAYERS, INNER, 0.0, activation, batch_first=True, norm_first=norm == "pre"
        )
        self.encoder, self.decoder = whole.encoder, whole.decoder
        self.head = None if tied else nn.Linear(DIM, TARGET_VOCAB)

    def embed(self, ids, table, positions):
        where = positions.weight if isinstance(positions, nn.Embedding) else positions
        return table(ids) * math.sqrt(DIM) + where[: ids.shape[1]]

    def memory(self, source):
        x = self.embed(source, self.src_embed, getattr(self, "src_pos", None) or self.waves)
        return self.encoder(x, src_key_padding_mask=source == PAD)

    def forward(self, source, target):
        T = target.shape[1]
        y = self.decoder(
            self.embed(target, self.tgt_embed, getattr(self, "tgt_pos", None) or self.waves),
            self.memory(source),
            tgt_mask=torch.ones(T, T, dtype=torch.bool).triu(1),
            tgt_key_padding_mask=target == PAD,
            memory_key_padding_mask=source == PAD,
        )
        return self.head(y) if self.head else y @ self.tgt_embed.weight.T

    def loss(self, source, target):
        scores = self(source, target[:, :-1]).reshape(-1, TARGET_VOCAB)
        return F.cross_entropy(
            scores, target[:, 1:].reshape(-1), ignore_index=PAD, label_smoothing=self.smoothing
        )


def fill(model):
    for k, (name, p) in enumerate(model.named_parameters()):
        i = torch.arange(p.numel(), dtype=torch.float64)
        scale = "norm" in name and name.endswith("weight")
        with torch.no_grad():
            p.copy_((0.2 * torch.sin(1.7 * i + k) + (1 if scale else 0)).reshape(p.shape))


def numbers(t):
    return [float(f"{v:.7g}") for v in t.detach().reshape(-1).tolist()]


def record(name, case):
    model = Model(**case)
    model.train()  # eval would take PyTorch's fast path, which is another code
    fill(model)
    source = torch.tensor(SOURCE) % TARGET_VOCAB if case["tied"] else torch.tensor(SOURCE)
    target = torch.tensor(TARGET)
    out = {
        "memory": numbers(model.memory(source)),
        "output": numbers(model(source, target[:, :-1])),
    }
    model.loss(source, target).backward()
    out["gradients"] = {n: numbers(p.grad) for n, p in model.named_parameters()}
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, betas=(0.9, 0.98), eps=1e-9)
    out["losses"] = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = model.loss(source, target)
        out["losses"].append(float(f"{loss.item():.12g}"))
        loss.backward()
        optimizer.step()
    return out


golden = {
    "torch": torch.__version__,
    "source": SOURCE,
    "target": TARGET,
    "cases": {name: {"config": case, **record(name, case)} for name, case in CASES.items()},
}
with open("test/golden/transformer.json", "w") as f:
    json.dump(golden, f, separators=(",", ":"))
    f.write("\n")
