"""Golden values of whole models: outputs, loss, all gradients, and ten AdamW losses, in float64.

Weights are not stored: element i of parameter k is 0.2·sin(1.7·i + k), plus 1 for the scales of layer norms, here and in
test/models/parity.test.ts. Writes test/golden/models.json. Made with PyTorch 1.13.1.
"""
import json
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(5, 8)
        self.norm = nn.LayerNorm(8)
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        return self.out(F.gelu(self.norm(self.hidden(x))))


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = self.qkv(x).reshape(B, T, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        a = q @ k.transpose(-1, -2) / math.sqrt(C // self.heads)
        a = a.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), -math.inf).softmax(-1)
        return self.proj((a @ v).transpose(1, 2).reshape(B, T, C))


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.ln1 = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads)
        self.ln2 = nn.LayerNorm(dim)
        self.up = nn.Linear(dim, 4 * dim)
        self.down = nn.Linear(4 * dim, dim)

    def forward(self, x):
        x = x + self.attention(self.ln1(x))
        # gelu's tanh form by hand: PyTorch 1.13 computes it in float32 constants otherwise
        h = self.up(self.ln2(x))
        h = 0.5 * h * (1 + torch.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)))
        return x + self.down(h)


class CharTransformer(nn.Module):
    def __init__(self, vocab, block, layers, heads, dim):
        super().__init__()
        self.tokens = nn.Embedding(vocab, dim)
        self.positions = nn.Embedding(block, dim)
        self.blocks = nn.ModuleList([Block(dim, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, vocab, bias=False)

    def forward(self, ids):
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
        for b in self.blocks:
            x = b(x)
        return self.head(self.norm(x))


def fill(model):
    for k, (name, p) in enumerate(model.named_parameters()):
        i = torch.arange(p.numel(), dtype=torch.float64)
        norm = ("norm" in name or "ln" in name) and name.endswith("weight")
        with torch.no_grad():
            p.copy_((0.2 * torch.sin(1.7 * i + k) + (1 if norm else 0)).reshape(p.shape))


def numbers(t):
    return [float(f"{v:.9g}") for v in t.detach().reshape(-1).tolist()]


def record(model, loss_of, output_of):
    fill(model)
    out = {"output": numbers(output_of()), "shape": list(output_of().shape)}
    loss_of().backward()
    out["gradients"] = {n: numbers(p.grad) for n, p in model.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, betas=(0.9, 0.99), weight_decay=0.1)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = loss_of()
        losses.append(float(f"{loss.item():.12g}"))
        loss.backward()
        optimizer.step()
    out["losses"] = losses
    return out


def main():
    mlp = MLP()
    x = torch.cos(0.9 * torch.arange(20.0, dtype=torch.float64)).reshape(4, 5)
    y = torch.sin(0.4 * torch.arange(12.0, dtype=torch.float64)).reshape(4, 3)
    transformer = CharTransformer(11, 6, 2, 2, 8)
    ids = (torch.arange(18) * 7 % 11).reshape(3, 6)
    targets = (torch.arange(18) * 5 % 11).reshape(3, 6)
    golden = {
        "mlp": record(mlp, lambda: F.mse_loss(mlp(x), y), lambda: mlp(x)),
        "charTransformer": record(
            transformer,
            lambda: F.cross_entropy(transformer(ids).reshape(-1, 11), targets.reshape(-1)),
            lambda: transformer(ids),
        ),
    }
    with open("test/golden/models.json", "w") as f:
        json.dump(golden, f, separators=(",", ":"))
        f.write("\n")


main()
