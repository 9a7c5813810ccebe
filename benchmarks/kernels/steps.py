"""Training steps on the book's date shapes: plain torch beside the kernels, paired.

    python benchmarks/kernels/steps.py --rounds 30 --threads 2 [--models luong] [--clock cpu]

Every round runs one step of each variant on the same batch; printed are medians and the median
of the rounds' ratios to the first variant of a model, which is idiomatic torch (nn.LSTM, and
nn.LSTMCell in a loop where the decoder needs one). `--clock cpu` takes the time this thread
spent computing (use it with --threads 1): it hardly notices other programs on the machine.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from jumok import kernels

V, E = 59, 16
Maker = Callable[[argparse.Namespace, str], nn.Module]


class Encoder(nn.Module):
    def __init__(self, hidden: int, precision: str) -> None:
        super().__init__()
        self.embedding = nn.Embedding(V, E)
        self.lstm = nn.LSTM(E, hidden, batch_first=True)
        self.precision = precision

    def forward(self, ids_BS: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        embedded = self.embedding(ids_BS)
        if self.precision == "torch":
            states, (h, c) = self.lstm(embedded)
            return states, h[0], c[0]
        h, c = run_lstm(self.lstm, embedded, self.precision)
        return h, h[:, -1], c[:, -1]


def run_lstm(
    lstm: nn.LSTM, x: Tensor, precision: str, h0: Tensor | None = None, c0: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    bias = lstm.bias_ih_l0 + lstm.bias_hh_l0
    return kernels.lstm(x, lstm.weight_ih_l0, lstm.weight_hh_l0, bias, h0, c0, precision=precision)


class Book(nn.Module):
    """Chapter 8's model: the decoder runs first, attention looks back once, for all steps."""

    def __init__(self, options: argparse.Namespace, precision: str) -> None:
        super().__init__()
        self.encoder = Encoder(options.hidden, precision)
        self.embedding, self.lstm = nn.Embedding(V, E), nn.LSTM(E, options.hidden, batch_first=True)
        self.out, self.precision = nn.Linear(2 * options.hidden, V), precision

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        states, h, _ = self.encoder(source)
        y = self.embedding(target)
        if self.precision == "torch":
            d, _ = self.lstm(y, (h[None], torch.zeros_like(h)[None]))
        else:
            d, _ = run_lstm(self.lstm, y, self.precision, h)
        weights = torch.softmax(d @ states.transpose(1, 2), -1)
        return self.out(torch.cat([weights @ states, d], -1))


class Luong(nn.Module):
    """General score, input feeding."""

    def __init__(self, options: argparse.Namespace, precision: str) -> None:
        super().__init__()
        H = options.hidden
        self.encoder, self.embedding = Encoder(H, precision), nn.Embedding(V, E)
        self.cell, self.precision = nn.LSTMCell(E + H, H), precision
        self.score = nn.Linear(H, H, bias=False)
        self.join, self.out = nn.Linear(2 * H, H, bias=False), nn.Linear(H, V)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        states, h, c = self.encoder(source)
        y = self.embedding(target)
        if self.precision == "torch":
            return self.out(self.loop(y, states, h, c))
        cell, W_a = self.cell, self.score.weight
        keys = kernels.linear(states, W_a.T, precision=self.precision)
        return self.out(
            kernels.luong_feed(
                y, keys, states, None,
                weight_x_GI=cell.weight_ih, weight_h_GH=cell.weight_hh,
                bias_G=cell.bias_ih + cell.bias_hh, weight_c_FJ=self.join.weight,
                h0_BH=h, c0_BH=c, precision=self.precision,
            ).attentional_BTF
        )  # fmt: skip

    def loop(self, y: Tensor, states: Tensor, h: Tensor, c: Tensor) -> Tensor:
        fed, outputs = torch.zeros_like(h), []
        for t in range(y.shape[1]):
            h, c = self.cell(torch.cat([y[:, t], fed], -1), (h, c))
            scores = torch.bmm(states, self.score(h)[..., None])[..., 0]
            context = torch.bmm(torch.softmax(scores, -1)[:, None], states)[:, 0]
            fed = torch.tanh(self.join(torch.cat([context, h], -1)))
            outputs.append(fed)
        return torch.stack(outputs, 1)


class Bahdanau(nn.Module):
    """Additive scores of the previous state; the context joins the embedding."""

    def __init__(self, options: argparse.Namespace, precision: str) -> None:
        super().__init__()
        H = options.hidden
        self.encoder, self.embedding = Encoder(H, precision), nn.Embedding(V, E)
        self.cell, self.precision = nn.LSTMCell(E + H, H), precision
        self.key, self.query = nn.Linear(H, H), nn.Linear(H, H, bias=False)
        self.v, self.out = nn.Parameter(torch.randn(H) / H**0.5), nn.Linear(2 * H, V)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        states, h, c = self.encoder(source)
        y, key, cell = self.embedding(target), self.key, self.cell
        if self.precision == "torch":
            return self.out(self.loop(y, key(states), states, h, c))
        keys = kernels.linear(states, key.weight, key.bias, precision=self.precision)
        done = kernels.additive_lstm(
            y, keys, states, None,
            weight_x_GI=cell.weight_ih, weight_h_GH=cell.weight_hh,
            bias_G=cell.bias_ih + cell.bias_hh, weight_q_AH=self.query.weight, v_A=self.v,
            h0_BH=h, c0_BH=c, precision=self.precision,
        )  # fmt: skip
        return self.out(torch.cat([done.context_BTD, done.h_BTH], -1))

    def loop(self, y: Tensor, keys: Tensor, states: Tensor, h: Tensor, c: Tensor) -> Tensor:
        outputs = []
        for t in range(y.shape[1]):
            scores = torch.tanh(keys + self.query(h)[:, None]) @ self.v
            context = torch.bmm(torch.softmax(scores, -1)[:, None], states)[:, 0]
            h, c = self.cell(torch.cat([y[:, t], context], -1), (h, c))
            outputs.append(torch.cat([context, h], -1))
        return torch.stack(outputs, 1)


class Alone(nn.Module):
    """Only an encoder, and a loss on its last state."""

    def __init__(self, options: argparse.Namespace, precision: str) -> None:
        super().__init__()
        self.encoder, self.out = Encoder(options.hidden, precision), nn.Linear(options.hidden, V)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        states, _, _ = self.encoder(source)
        return self.out(states[:, -1:].expand(-1, target.shape[1], -1))


MODELS: dict[str, Maker] = {"encoder": Alone, "book": Book, "luong": Luong, "bahdanau": Bahdanau}
VARIANTS = ("torch", "torch bf16", "fp32", "bf16")


def stepper(
    options: argparse.Namespace, make: Maker, variant: str
) -> Callable[[Tensor, Tensor], None]:
    """A training step: forward, loss, backward, clip, Adam."""
    torch.manual_seed(0)
    model = make(options, "torch" if variant.startswith("torch") else variant)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    autocast = variant == "torch bf16"

    def step(source: Tensor, target: Tensor) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = model(source, target[:, :-1])
        loss = nn.functional.cross_entropy(logits.float().flatten(0, 1), target[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()

    return step


def measure(options: argparse.Namespace, name: str) -> None:
    clock = time.thread_time if options.clock == "cpu" else time.perf_counter
    steps = {v: stepper(options, MODELS[name], v) for v in VARIANTS}
    taken: dict[str, list[float]] = {v: [] for v in VARIANTS}
    for turn in range(options.rounds + 3):
        source = torch.randint(V, (options.batch, options.source))
        target = torch.randint(V, (options.batch, options.target + 1))
        for variant, step in steps.items():
            began = clock()
            step(source, target)
            if turn >= 3:
                taken[variant].append(1e3 * (clock() - began))
    for variant in VARIANTS:
        ratios = [a / b for a, b in zip(taken["torch"], taken[variant], strict=True)]
        print(
            f"{name:9s} {variant:10s} median {statistics.median(taken[variant]):7.1f} ms  "
            f"best {min(taken[variant]):7.1f} ms  {statistics.median(ratios):5.2f}x",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    numbers = {"rounds": 30, "threads": 2, "batch": 128, "source": 29, "target": 11, "hidden": 256}
    for name, value in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.models:
        measure(options, name)


if __name__ == "__main__":
    main()
