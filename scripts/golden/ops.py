"""Golden values of the op table: evaluates each row's PyTorch expression in float64, forward and backward.

Reads the dump of dump.ts on standard input, writes test/golden/ops.json. Made with PyTorch 1.13.1.
"""
import json
import math
import sys

import torch
import torch.nn.functional as F  # noqa: F401  (for the expressions)

SPECIAL = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan, "-0": -0.0}


def revive(d):
    return SPECIAL[d["special"]] if set(d) == {"special"} else d


def plain(x):
    """Nine significant digits: more than any comparison here needs, fewer bytes."""
    if math.isnan(x):
        return "NaN"
    if math.isinf(x):
        return "Infinity" if x > 0 else "-Infinity"
    return float(f"{x:.9g}")


def numbers(t):
    return [plain(float(v)) for v in t.detach().reshape(-1).double().tolist()]


def main():
    dump = json.load(sys.stdin, object_hook=revive)
    weights = [torch.tensor(w, dtype=torch.float64) for w in dump["weights"]]
    golden, count, failed = {}, 0, 0
    for row in dump["rows"]:
        out = []
        for s in row["samples"]:
            if s is None:
                out.append(None)
                continue
            inputs = []
            for i, a in enumerate(s["inputs"]):
                kind = {"int32": torch.int64, "uint32": torch.int64, "bool": torch.bool}.get(a.get("dtype"), torch.float64)
                t = torch.tensor(a["data"], dtype=torch.float64).to(kind).reshape(a["shape"])
                inputs.append(t.requires_grad_(i in s["wanted"]))
            scope = dict(zip("abcdefgh", inputs), p=s["params"], torch=torch, F=F, math=math, inputs=inputs)
            try:
                y = eval(row["torch"], scope)
                ys = list(y) if isinstance(y, (tuple, list)) else [y]
                grads = None
                if s["wanted"]:
                    total = 0
                    for k, o in enumerate(ys):
                        if o.dtype.is_floating_point and o.requires_grad:
                            total = total + (o * weights[k][: o.numel()].reshape(o.shape)).sum()
                    got = torch.autograd.grad(total, [inputs[i] for i in s["wanted"]], allow_unused=True)
                    grads = [None] * len(inputs)
                    for i, g in zip(s["wanted"], got):
                        grads[i] = None if g is None else numbers(g)
                out.append({"digest": s["digest"], "outputs": [{"shape": list(o.shape), "data": numbers(o)} for o in ys], "grads": grads})
                count += 1
            except Exception as e:  # a row that PyTorch cannot evaluate is reported, and its test fails as missing
                print(f"{row['name']} / {s['name']}: {type(e).__name__}: {e}", file=sys.stderr)
                out.append(None)
                failed += 1
        golden[row["name"]] = out
    text = json.dumps(golden, separators=(",", ":")).replace('],"', '],\n"')
    with open("test/golden/ops.json", "w") as f:
        f.write(text + "\n")
    print(f"{count} golden samples written, {failed} failed", file=sys.stderr)


main()
