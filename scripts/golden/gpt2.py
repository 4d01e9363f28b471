"""Golden values of GPT-2 from PyTorch in float64: test/golden/gpt2/NAME/, a model folder with expected.safetensors beside.

Written from the paper's description: norms before each layer, learned positions, GELU by tanh, scores over the square root
of the head's width, one weight for tokens and head. Weights lie in the file as Hugging Face's Conv1D has them: [in, out].

Run: python3 scripts/golden/gpt2.py
"""

import json
import math
import os
import struct

import torch

torch.manual_seed(20)
torch.set_default_dtype(torch.float64)

MODELS = {
    # layers, heads, dim, inner, vocab, context, eps, stored as, prefix of names, [B, T]
    "two-layers": dict(L=2, H=4, C=16, I=64, V=97, N=24, eps=1e-5, dtype="F32", prefix="transformer.", shape=(2, 17)),
    "three-layers": dict(L=3, H=3, C=48, I=192, V=61, N=33, eps=1e-5, dtype="F16", prefix="", shape=(3, 33)),
    "wide-epsilon": dict(L=1, H=2, C=12, I=20, V=31, N=11, eps=1e-3, dtype="BF16", prefix="transformer.", shape=(1, 11)),
}
TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I32": torch.int32}


def weights_of(m):
    """Random weights, larger than GPT-2's at first so that attention is not uniform, exact in the stored type."""
    C, I = m["C"], m["I"]
    shapes = {"wte.weight": (m["V"], C), "wpe.weight": (m["N"], C)}
    for i in range(m["L"]):
        h = f"h.{i}"
        for ln in ("ln_1", "ln_2"):
            shapes[f"{h}.{ln}.weight"] = shapes[f"{h}.{ln}.bias"] = (C,)
        for name, a, b in (
            ("attn.c_attn", C, 3 * C),
            ("attn.c_proj", C, C),
            ("mlp.c_fc", C, I),
            ("mlp.c_proj", I, C),
        ):
            shapes[f"{h}.{name}.weight"] = (a, b)
            shapes[f"{h}.{name}.bias"] = (b,)
    shapes["ln_f.weight"] = shapes["ln_f.bias"] = (C,)
    out = {}
    for name, shape in shapes.items():
        one = 1.0 if "ln_" in name and name.endswith("weight") else 0.0
        std = 0.1 if name.endswith("bias") or one else 0.25
        w = (one + std * torch.randn(shape)).to(TYPES[m["dtype"]]).to(torch.float64)
        out[name] = w.requires_grad_()
    return out


def layer_norm(x, w, b, eps):
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + eps) * w + b


def gelu(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def forward(m, p, ids):
    B, T = ids.shape
    H, C = m["H"], m["C"]
    x = p["wte.weight"][ids] + p["wpe.weight"][:T]
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    for i in range(m["L"]):
        h = f"h.{i}"
        conv = lambda name, y: y @ p[f"{h}.{name}.weight"] + p[f"{h}.{name}.bias"]
        norm = lambda name, y: layer_norm(y, p[f"{h}.{name}.weight"], p[f"{h}.{name}.bias"], m["eps"])
        q, k, v = (
            t.reshape(B, T, H, C // H).transpose(1, 2) for t in conv("attn.c_attn", norm("ln_1", x)).split(C, -1)
        )
        scores = (q @ k.transpose(-1, -2) / math.sqrt(C // H)).masked_fill(future, -math.inf)
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(B, T, C)
        x = x + conv("attn.c_proj", y)
        x = x + conv("mlp.c_proj", gelu(conv("mlp.c_fc", norm("ln_2", x))))
    return layer_norm(x, p["ln_f.weight"], p["ln_f.bias"], m["eps"]) @ p["wte.weight"].T


def loss_of(m, p, ids, targets):
    logits = forward(m, p, ids)
    return torch.nn.functional.cross_entropy(logits.reshape(-1, m["V"]), targets.reshape(-1), ignore_index=-100)


def save(path, tensors, metadata):
    header, data = {"__metadata__": metadata}, b""
    for name, (tensor, dtype) in tensors.items():
        t = tensor.detach().to(TYPES[dtype]).contiguous()
        raw = (t.view(torch.int16) if dtype == "BF16" else t).numpy().tobytes()
        header[name] = {"dtype": dtype, "shape": list(t.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def main():
    for name, m in MODELS.items():
        folder = f"test/golden/gpt2/{name}"
        os.makedirs(folder, exist_ok=True)
        p = weights_of(m)
        ids = torch.randint(0, m["V"], m["shape"])
        targets = torch.randint(0, m["V"], m["shape"])
        targets[0, :3] = -100
        save(f"{folder}/model.safetensors", {m["prefix"] + k: (w, m["dtype"]) for k, w in p.items()}, {"format": "pt"})
        config = dict(
            model_type="gpt2", activation_function="gelu_new", vocab_size=m["V"], n_positions=m["N"], n_embd=m["C"],
            n_layer=m["L"], n_head=m["H"], n_inner=None if m["I"] == 4 * m["C"] else m["I"],
            layer_norm_epsilon=m["eps"], attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0,
        )
        with open(f"{folder}/config.json", "w") as f:
            json.dump(config, f, indent=2)
            f.write("\n")

        loss = loss_of(m, p, ids, targets)
        loss.backward()
        expected = {"ids": (ids, "I32"), "targets": (targets, "I32"), "logits": (forward(m, p, ids), "F32")}
        for k, w in p.items():
            expected[f"gradient.{k}"] = (w.grad.clone(), "F32")
        optimizer = torch.optim.AdamW(list(p.values()), lr=1e-2, betas=(0.9, 0.99), weight_decay=0.1)
        losses = []
        for _ in range(10):
            optimizer.zero_grad()
            step = loss_of(m, p, ids, targets)
            losses.append(step.item())
            step.backward()
            optimizer.step()
        metadata = {"loss": repr(loss.item()), "losses": json.dumps(losses)}
        save(f"{folder}/expected.safetensors", expected, metadata)


main()
