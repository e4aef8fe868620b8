#!/usr/bin/env python3
"""Make a golden file for tests/golden: parameters, inputs, forward passes, losses, gradients, AdamW steps, average of weights and three
trajectories of the reverse process in double precision, by the published model in PyTorch.

    make_golden.py PEER.py OUT.h5 [--genes 31 --hidden 24 ...]

PEER.py holds the published model as classes Model, Denoiser, Covariates and the function energy(p, q). Needs torch, numpy, h5py."""
import argparse
import importlib.util

import h5py
import numpy as np
import torch

SIZES = dict(genes=31, hidden=24, depth=2, heads=3, set_size=7, sets=2, perturbations=4, cell_types=2, batches=3, covariate_dim=6, time_frequencies=128)
OPTIMIZER = dict(lr=0.002, beta1=0.9, beta2=0.98, eps=1e-8, weight_decay=0.01, clip=1.0, ema_decay=0.99, steps=3)
SAMPLING = dict(cutoff=1e-4, guidance=1.0, noise_weight=0.5, start_step=6, steps=1000)
ETA = 0.6
BETA = np.linspace(1e-4, 2e-2, 1000)
ALPHA_BAR = np.cumprod(1 - BETA)
PREVIOUS = np.append(1.0, ALPHA_BAR[:-1])


def load_peer(path):
    spec = importlib.util.spec_from_file_location("peer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def start(net):
    """Random values for every parameter, so that no modulation is zero; float32 values, so that both builds read the same."""
    with torch.no_grad():
        for name, p in net.named_parameters():
            scale = 0.3 if p.ndim == 1 else 0.7 / p.shape[-1] ** 0.5
            value = scale * torch.randn(p.shape)
            if name.endswith("norm.weight"):
                value = 1 + 0.1 * torch.randn(p.shape)
            elif name.endswith("null_emb.weight") or "_encoder.weight" in name:
                value = torch.randn(p.shape)
            elif name.startswith("model.gene_embedding.gene_embedding"):
                value = torch.round(4 * torch.randn(p.shape)) / 4  # large and without effect: few digits keep the file small
            p.copy_(value.double())


class Problem:
    def __init__(self, peer, a):
        self.peer, self.a = peer, a
        self.net = peer.Model(a).double()
        start(self.net)
        shape = (a.sets, a.set_size, a.genes)
        sparse = lambda: torch.rand(shape) * (torch.rand(shape) < 0.5)
        self.clean, self.control, self.self_condition = sparse(), sparse(), sparse()
        self.noise, self.step = torch.randn(shape), torch.randint(0, 1000, (a.sets,))
        self.covariates = [torch.randint(0, n, (a.sets,)) for n in (a.perturbations, a.cell_types, a.batches)]
        factor = lambda v: torch.tensor(np.float32(np.sqrt(v))).double()[:, None, None]
        alpha_bar = ALPHA_BAR[self.step.numpy()]
        self.noisy = factor(alpha_bar) * self.clean.double() + factor(1 - alpha_bar) * self.noise.double()

    def code(self):
        return self.net.cov_encoder(*(c[:, None].expand(self.a.sets, self.a.set_size) for c in self.covariates))

    def network(self, noisy, self_condition, step, conditional):
        stream = []
        hook = self.net.model.final_layer.register_forward_pre_hook(lambda _, inputs: stream.append(inputs[0].detach()))
        y, _ = self.net.model(noisy, self_condition, self.control.double(), step, self.code() if conditional else None)
        hook.remove()
        return y, stream[0]

    def loss(self, conditional):
        condition = self.self_condition.double() if conditional else torch.zeros_like(self.noisy)
        y, stream = self.network(self.noisy, condition, self.step, conditional)
        clean = self.clean.double()
        mse, energy = ((y - clean) ** 2).mean((1, 2)), self.peer.energy(clean, y)
        return y, stream, mse, energy


def put(group, name, value):
    value = value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    if value.ndim:
        group.create_dataset(name, data=value, compression="gzip", compression_opts=9, shuffle=True)
    else:
        group.create_dataset(name, data=value)


def passes(h, problem):
    put(h, "forward/noisy", problem.noisy)
    for case in ("conditional", "unconditional"):
        problem.net.zero_grad(set_to_none=True)
        y, stream, mse, energy = problem.loss(case == "conditional")
        total = (mse + energy).mean()
        total.backward()
        put(h, f"forward/{case}/clean_estimate", y)
        put(h, f"forward/{case}/hidden", stream)
        for name, value in (("mse", mse), ("energy", energy), ("total", total)):
            put(h, f"loss/{case}/{name}", value)
        for name, p in problem.net.named_parameters():
            if p.grad is not None:
                put(h, f"gradients/{case}/{name}", p.grad)


def optimizer(h, problem):
    o, net = OPTIMIZER, problem.net
    before = {n: p.detach().clone() for n, p in net.named_parameters()}
    average = {n: p.clone() for n, p in before.items()}
    decay = [p for n, p in net.named_parameters() if not n.endswith(".bias")]
    plain = [p for n, p in net.named_parameters() if n.endswith(".bias")]
    adamw = torch.optim.AdamW([dict(params=decay, weight_decay=o["weight_decay"]), dict(params=plain, weight_decay=0.0)], lr=o["lr"],
                              betas=(o["beta1"], o["beta2"]), eps=o["eps"])
    losses, norms = [], []
    for _ in range(o["steps"]):
        adamw.zero_grad(set_to_none=True)
        _, _, mse, energy = problem.loss(True)
        total = (mse + energy).mean()
        total.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(net.parameters(), o["clip"]).item())
        adamw.step()
        losses.append(total.item())
        for n, p in net.named_parameters():
            average[n] = o["ema_decay"] * average[n] + (1 - o["ema_decay"]) * p.detach()
    group = h.create_group("optimizer")
    group.attrs.update(o)
    put(group, "loss", losses)
    put(group, "gradient_norm", norms)
    with torch.no_grad():
        for n, p in net.named_parameters():
            put(group, f"parameters/{n}", p.clone())
            put(group, f"ema/{n}", average[n])
            p.copy_(before[n])


def single(value):
    return float(np.float32(value))


def next_state(kind, t, x, y, noise):
    """One reverse step as the public code takes it: coefficients in single precision, cells in double."""
    f = np.float32
    if kind == "ddpm":
        mean = single(BETA[t] * np.sqrt(PREVIOUS[t]) / (1 - ALPHA_BAR[t])) * y + single((1 - PREVIOUS[t]) * np.sqrt(1 - BETA[t]) / (1 - ALPHA_BAR[t])) * x
        return mean + (torch.exp(torch.tensor(f(SAMPLING["noise_weight"]) * f(np.log(BETA[t])))).item() * noise if t else 0)
    eta = f(ETA if kind == "ddim_eta" else 0)
    now, then = f(ALPHA_BAR[t]), f(PREVIOUS[t])
    sigma = eta * np.sqrt((1 - then) / (1 - now)) * np.sqrt(1 - now / then)
    epsilon = (single(np.sqrt(1 / ALPHA_BAR[t])) * x - y) / single(np.sqrt(1 / ALPHA_BAR[t] - 1))
    mean = float(np.sqrt(then)) * y + float(np.sqrt(1 - then - sigma * sigma)) * epsilon
    return mean + (float(sigma) * noise if t else 0)


@torch.no_grad()
def sampling(h, problem):
    group = h.create_group("sampling")
    group.attrs.update(SAMPLING, schedule="linear")
    first = torch.randn(problem.clean.shape)
    put(group, "start", first)
    w, steps = SAMPLING["guidance"], SAMPLING["start_step"]
    for kind in ("ddim", "ddim_eta", "ddpm"):
        x, previous = first.double(), torch.zeros_like(first).double()
        noise, states, estimates = torch.randn((steps,) + first.shape), [], []
        for k, t in enumerate(range(steps - 1, -1, -1)):
            time = torch.full((problem.a.sets,), t)
            conditional, unconditional = (problem.network(x, previous, time, c)[0] for c in (True, False))
            y = (1 + w) * conditional - w * unconditional
            y = torch.where(y < SAMPLING["cutoff"], torch.zeros_like(y), y)
            x, previous = next_state(kind, t, x, y, noise[k].double()), y
            states.append(x)
            estimates.append(y)
        put(group, f"{kind}/noise", noise)
        put(group, f"{kind}/trajectory", torch.stack(states))
        put(group, f"{kind}/clean_estimate", torch.stack(estimates))
    group["ddim_eta"].attrs["eta"] = ETA


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer")
    parser.add_argument("out")
    parser.add_argument("--seed", type=int, default=1)
    for name, value in SIZES.items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=value)
    a = parser.parse_args()
    torch.manual_seed(a.seed)
    problem = Problem(load_peer(a.peer), a)
    with h5py.File(a.out, "w") as h:
        h.attrs.update({name: getattr(a, name) for name in SIZES})
        for name, p in problem.net.named_parameters():
            put(h, f"parameters/{name}", p.detach().float())
        for name in ("clean", "control", "noise", "self_condition"):
            put(h, f"inputs/{name}", getattr(problem, name).float())
        for name, value in zip(("perturbation", "cell_type", "batch", "step"), problem.covariates + [problem.step]):
            put(h, f"inputs/{name}", value.int())
        passes(h, problem)
        optimizer(h, problem)
        sampling(h, problem)


if __name__ == "__main__":
    main()
