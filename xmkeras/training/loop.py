"""The training loop. Read this file first: it is a run from top to bottom."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from absl import logging

from xmkeras.config import TrainConfig
from xmkeras.errors import UserError
from xmkeras.method import Batch, Clock, Method
from xmkeras.training.checkpoints import Checkpoint, Checkpoints, restore
from xmkeras.training.ema import MovingAverage
from xmkeras.training.finite import FiniteCheck, Taken, scalars
from xmkeras.training.freezing import Freezer
from xmkeras.training.groups import Stage, parse_group
from xmkeras.training.loss_scale import LossScale
from xmkeras.training.monitor import Monitor
from xmkeras.training.norm_averages import NormAverages
from xmkeras.training.optimizers import Defaults, GroupedOptimizer
from xmkeras.training.schedules import Schedule, build_schedule
from xmkeras.training.step import TrainStep
from xmkeras.training.strategy import is_gpu


class Batches(Protocol):
    """Training batches as a pure function of the step, but for the broken rows found on the way."""

    bad_rows: list[int]

    def iterate(self, start_step: int, distribute: Callable[[tf.data.Dataset], Any]) -> Iterator[Batch]: ...


@dataclasses.dataclass(frozen=True)
class Span:
    """A stage and its steps: the first one, and the one after its last."""

    number: int
    stage: Stage
    first: int
    end: int


@dataclasses.dataclass(frozen=True)
class Result:
    """How a run ended, after how many steps, and its best metric.

    Attributes:
        ending: `finished`, `stopped early`, `interrupted` or `diverged`: finished with a loss far above the first.
        step: number of steps done.
        best_step, best_value, best_metric: of the best evaluation; no step where there was none.
        chance: the best metric of a random order; None where it is not known.
        doubt: what is to be told of the model, "" for nothing.
    """

    ending: str
    step: int
    best_step: int | None
    best_value: float
    best_metric: str
    chance: float | None = None
    doubt: str = ""


def plan(stages: Sequence[Stage], steps_per_epoch: int) -> list[Span]:
    """Lays the stages one after the other, in steps."""
    spans: list[Span] = []
    first = 0
    for number, stage in enumerate(stages):
        steps = stage.steps or math.ceil((stage.epochs or 0) * steps_per_epoch)
        spans.append(Span(number, stage, first, first + steps))
        first += steps
    return spans


# From so many times the first loss on a run has diverged; terms that work against each other may rise a little.
_DIVERGED = 10.0


class Trainer:
    """Everything a run needs from step to step; `run` is the loop.

    Args:
        method: what is trained, built inside the scope of `strategy`.
        stages: in order.
        steps_per_epoch: of the batches.
        batches_of: the batches of a stage, given the broken rows that are known.
        evaluate: from the step to the validation metrics of the present weights, by name; None trains without.
        options: of the config.
        strategy: the devices.
        checkpoints: where the state is kept.
        monitor: where numbers are shown.
        describe_rows: names rows in messages.
        lower_is_better: whether the best value of a metric, by its name, is the least one.
    """

    def __init__(
        self,
        method: Method,
        stages: Sequence[Stage],
        *,
        steps_per_epoch: int,
        batches_of: Callable[[Stage, Sequence[int]], Batches],
        evaluate: Callable[[int], dict[str, float]] | None,
        options: TrainConfig,
        strategy: tf.distribute.Strategy,
        checkpoints: Checkpoints,
        monitor: Monitor,
        describe_rows: Callable[[np.ndarray], str],
        lower_is_better: Callable[[str], bool] = lambda name: False,
    ):
        self.method = method
        self.spans = plan(stages, steps_per_epoch)
        self.steps_per_epoch = steps_per_epoch
        self.total_steps = self.spans[-1].end
        self.options = options
        self._batches_of = batches_of
        self._evaluate = evaluate
        self._strategy = strategy
        self._checkpoints = checkpoints
        self._monitor = monitor
        clip = "" if options.clip_norm else " --clip_norm=1"
        calmer = f"--learning_rate={0.1 * options.learning_rate:.3g}{clip}"
        self._finite = FiniteCheck(checkpoints, describe_rows, calmer)
        self._sign = -1.0 if lower_is_better(options.best_metric) else 1.0
        self._eval_every = options.eval_every or steps_per_epoch
        self._save_every = options.save_every or self._eval_every
        with strategy.scope():
            variables = method.named_variables()
            self._average = MovingAverage(variables, options.ema) if options.ema else None
            self._loss_scale = LossScale() if options.precision == "mixed_float16" else None
            self._norms = NormAverages(method) if options.norm_warmup else None
        self._freezer = Freezer(method)
        self._groups = [parse_group(text) for text in options.group]
        self.step = 0
        self._best_gain, self._waited = -math.inf, 0
        self._best_step: int | None = None
        self._chance: float | None = None
        self._losses: tuple[float, float] | None = None
        self._bad_rows: list[int] = []
        self._restored: Checkpoint | None = None
        self._interrupted = threading.Event()

    def run(self) -> Result:
        """Trains to the end, to an early stop, or to Ctrl-C; everything needed to go on is on disk afterwards.

        Raises:
            UserError: a loss or gradient is not finite, too many rows are broken, or the disk is full.
        """
        self._restored = self._checkpoints.latest()
        if self._restored is not None:
            self._restore_progress(self._restored)
        if self.step >= self.total_steps:
            return self._result("diverged" if self._diverged() else "finished")
        with _InterruptFlag(self._interrupted):
            for span in self.spans:
                if self.step < span.end:
                    ending = self._run_stage(span)
                    if ending:
                        return self._result(ending)
        return self._result("diverged" if self._diverged() else "finished")

    def _diverged(self) -> bool:
        """Whether the last loss that was logged is far above the first one; both are finite."""
        if self._losses is None:
            return False
        first, last = self._losses
        return last > _DIVERGED * max(abs(first), 1.0)

    def _run_stage(self, span: Span) -> str:
        """Trains one stage to its end; returns why the run ends inside it, or ""."""
        self._freezer.freeze(span.stage.groups(self._groups))
        schedule = self._schedule(span)
        with self._strategy.scope():
            optimizers = self._build_optimizers(span.stage)
        self._restore(span, optimizers, schedule)
        train_step = TrainStep(
            self.method,
            optimizers,
            self._strategy,
            clip_norm=self.options.clip_norm,
            average=self._average,
            loss_scale=self._loss_scale,
            jit=self.options.jit_compile == "on"
            or (self.options.jit_compile == "auto" and is_gpu(self._strategy)),
            mini_batch_size=self.options.mini_batch_size,
        )
        batches = self._batches_of(span.stage, self._bad_rows)
        iterator = batches.iterate(self.step, self._distribute)
        self._monitor.start(self.step, self.total_steps)
        while self.step < span.end:
            batch = next(iterator)
            for optimizer in optimizers.values():
                optimizer.set_rate(schedule.rate(self.step - span.first))
            if self._norms is not None:
                self._norms.start_step(self.step - span.first)
            self.method.start_step(Clock(self.step, self.steps_per_epoch, self.total_steps))
            results = train_step(batch, self.step)
            names = train_step.gradient_names(self.step)
            self.step += 1
            self._bad_rows = batches.bad_rows
            rows = self._strategy.experimental_local_results(batch["row"])
            self._finite.add(Taken(self.step, results, names, rows))

            last = self.step == span.end
            evaluates = self._evaluate is not None and (self.step % self._eval_every == 0 or last)
            saves = evaluates or last or self.step % self._save_every == 0
            if saves or self.step % self.options.log_every == 0 or self.step == 1:
                self._log(results, optimizers)
            if evaluates:
                self._measure(schedule)
            interrupted = self._interrupted.is_set()
            if saves or interrupted:
                self._save(span, optimizers, schedule)
            if interrupted:
                return "interrupted"
            if self.options.patience and self._waited >= self.options.patience:
                return "stopped early"
        return ""

    def _schedule(self, span: Span) -> Schedule:
        options, stage = self.options, span.stage
        name = stage.schedule or options.schedule
        settings: dict[str, dict[str, Any]] = {
            "cosine": {"final": options.final_rate},
            "step": {
                "factor": options.decay_factor,
                "milestones": options.milestones,
            },
            "exponential": {"factor": options.decay_factor, "decay_steps": options.decay_steps},
            "plateau": {
                "factor": options.decay_factor,
                "patience": options.plateau_patience,
                "final": options.final_rate,
            },
        }
        return build_schedule(
            name,
            learning_rate=stage.learning_rate or options.learning_rate,
            warmup_steps=self._warmup_steps(span),
            total_steps=span.end - span.first,
            **settings.get(name, {}),
        )

    def _warmup_steps(self, span: Span) -> int:
        """The stage's own warm-up, else the run's in its first stage."""
        if span.stage.warmup_steps is not None:
            return span.stage.warmup_steps
        return self.options.warmup_steps if span.number == 0 else 0

    def _build_optimizers(self, stage: Stage) -> dict[str, GroupedOptimizer]:
        """One optimizer a phase of the method, over the variables that phase updates."""
        named = self.method.named_variables()
        defaults = Defaults(
            optimizer=self.options.optimizer,
            learning_rate=stage.learning_rate or self.options.learning_rate,
            weight_decay=self.options.weight_decay,
            beta_1=self.options.beta_1,
            beta_2=self.options.beta_2,
        )
        return {
            phase.name: GroupedOptimizer(
                {name: variable for name, variable in named.items() if re.fullmatch(phase.variables, name)},
                self._groups,
                defaults,
                name=phase.name,
                known=named,
            )
            for phase in self.method.phases()
        }

    def _distribute(self, dataset: tf.data.Dataset) -> Any:
        if self._strategy.num_replicas_in_sync == 1:
            return dataset
        return self._strategy.experimental_distribute_dataset(dataset)

    def _log(self, results: dict[str, tf.Tensor], optimizers: Mapping[str, GroupedOptimizer]) -> None:
        """Shows the numbers of the last step, if all steps until then were finite."""
        self._finite.check()
        numbers = scalars(results)
        for optimizer in optimizers.values():
            numbers |= {f"rate/{name}": rate for name, rate in optimizer.rates().items()}
        self._losses = (self._losses[0] if self._losses else numbers["loss"], numbers["loss"])
        self._monitor.log(self.step, numbers)
        if warning := self.method.warning(self.step, numbers):
            self._monitor.note(warning)

    def _measure(self, schedule: Schedule) -> None:
        assert self._evaluate is not None
        self._monitor.end_line()
        with self._average.averaged() if self._average is not None else contextlib.nullcontext():
            metrics = self._evaluate(self.step)
        self._monitor.log_metrics(self.step, metrics)
        if self.options.best_metric not in metrics:
            raise UserError(
                f"--best_metric={self.options.best_metric} is not measured; choose one of {', '.join(metrics)}."
            )
        self._chance = metrics.get(f"chance/{self.options.best_metric}")
        self._monitor.note(_told(self.step, metrics, self.options.best_metric))
        gain = self._sign * metrics[self.options.best_metric]
        schedule.observe(gain)
        self._waited += 1
        if gain > self._best_gain:
            self._best_gain, self._best_step, self._waited = gain, self.step, 0

    def _tensors(self, optimizers: Mapping[str, GroupedOptimizer]) -> dict[str, Any]:
        """Every variable that decides the next step, by name."""
        named: dict[str, Any] = {f"weights/{name}": v for name, v in self.method.named_variables().items()}
        for optimizer in optimizers.values():
            named |= {f"optimizer/{name}": variable for name, variable in optimizer.variables.items()}
        if self._average is not None:
            named |= {f"average/{name}": variable for name, variable in self._average.variables.items()}
        if self._loss_scale is not None:
            named |= self._loss_scale.variables
        return named

    def _save(self, span: Span, optimizers: Mapping[str, GroupedOptimizer], schedule: Schedule) -> None:
        self._finite.check()
        state = {
            "stage": span.number,
            "num_labels": self.method.num_labels,
            "schedule": schedule.state(),
            "best_value": self._sign * self._best_gain if self._best_step is not None else None,
            "best_step": self._best_step,
            "best_metric": self.options.best_metric,
            "chance": self._chance,
            "losses": self._losses,
            "waited": self._waited,
            "bad_rows": [int(row) for row in self._bad_rows],
        }
        self._checkpoints.save(self.step, self._tensors(optimizers), state, best=self._best_step == self.step)

    def _restore_progress(self, checkpoint: Checkpoint) -> None:
        state = checkpoint.state
        self.step = checkpoint.step
        # Values of another metric say nothing of this one's: the best is looked for anew.
        if state["best_value"] is not None and state.get("best_metric") in (None, self.options.best_metric):
            self._best_step, self._waited = state["best_step"], state["waited"]
            self._best_gain = self._sign * state["best_value"]
            self._chance = state.get("chance")
        self._losses = tuple(state["losses"]) if state.get("losses") else None
        self._bad_rows = state["bad_rows"]
        self._monitor.rewind(self.step)

    def _restore(self, span: Span, optimizers: Mapping[str, GroupedOptimizer], schedule: Schedule) -> None:
        """Takes up the checkpoint, once; a stage that begins where it ends starts its optimizer afresh."""
        if self._restored is None:
            return
        named = self._tensors(optimizers)
        same_stage = self._restored.state["stage"] == span.number
        if same_stage:
            schedule.restore(self._restored.state["schedule"])
        else:
            named = {name: variable for name, variable in named.items() if not name.startswith("optimizer/")}
        saved = {name: array for name, array in self._restored.tensors.items() if name in named or same_stage}
        restore(named, saved)
        logging.info("Continuing at step %d of %d.", self.step, self.total_steps)
        self._restored = None

    def _result(self, ending: str) -> Result:
        best = self._sign * self._best_gain
        return Result(ending, self.step, self._best_step, best, self.options.best_metric, self._chance)


def _told(step: int, metrics: Mapping[str, float], best: str) -> str:
    """A line of an evaluation: the metric that the best checkpoint is kept by, the recalls at 10, and chance."""
    names = dict.fromkeys((best, *(name for name in metrics if name.endswith("/R@10") and f"chance/{name}" in metrics)))
    chances = {name: metrics.get(f"chance/{name}") for name in names}
    figures = [
        f"{name} {metrics[name]:.1f}" + ("" if chance is None else f" (chance {chance:.1f})")
        for name, chance in chances.items()
    ]
    return f"validation at step {step}: {', '.join(figures)}"


class _InterruptFlag:
    """While entered, the first Ctrl-C or SIGTERM sets an event; the second one interrupts as usual."""

    def __init__(self, event: threading.Event):
        self._event = event
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)

    def _handle(self, number: int, frame: Any) -> None:
        if self._event.is_set():
            raise KeyboardInterrupt
        logging.info("Saving; press Ctrl-C again to leave at once.")
        self._event.set()

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
