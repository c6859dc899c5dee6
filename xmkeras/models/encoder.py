"""What embeds one side of a batch, cut into parts so that what a frozen front makes can be kept; and the towers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras

from xmkeras.models.batch_norm import with_folded_batch_norm
from xmkeras.models.cutting import cut, frozen_end

Tensor = Any
Entries = Mapping[str, Tensor]


@dataclasses.dataclass(frozen=True)
class Part:
    """A functional model between named tensors.

    Attributes:
        model: what it computes.
        takes: the batch entries that are its inputs, in the order of `model.inputs`.
        gives: what its outputs are called, in the order of `model.outputs`: entries that the next part takes, or, of an
            encoder's last part, the encoder's outputs, of which "" is the embedding.
        divisible: a frozen beginning of the network inside the model is worth keeping what it makes, an entry
            `<input>_cut/<layer>`.
    """

    model: keras.Model
    takes: tuple[str, ...]
    gives: tuple[str, ...] = ("",)
    divisible: bool = False
    _pieces: dict[str, tuple[Part, Part]] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    def __call__(self, entries: Entries, training: bool = False) -> dict[str, Tensor]:
        taken = [entries[name] for name in self.takes]
        given = self.model(taken if len(taken) > 1 else taken[0], training=training)
        return dict(zip(self.gives, given if isinstance(given, list | tuple) else [given], strict=True))

    def frozen_piece(self) -> Part | None:
        """The longest beginning of a divisible part that nothing trains; None where there is none."""
        end = frozen_end(self.model) if self.divisible else None
        return None if end is None else self._halves(end)[0]

    def rest(self, entries: Iterable[str]) -> Part | None:
        """What is left of a part to be done where the entries hold what a beginning of it has made; None where not."""
        prefix = self._entry("")
        ends = [name.removeprefix(prefix) for name in entries if name.startswith(prefix)] if self.divisible else []
        return self._halves(min(ends, key=len))[1] if ends else None

    def _halves(self, end: str) -> tuple[Part, Part]:
        """This part cut behind a layer, the same each time it is asked for."""
        if end not in self._pieces:
            halves = cut(self.model, end)
            # Beside what the layer makes, the outputs that are made before it.
            more = range(1, len(halves.rest.inputs))
            entries = (self._entry(end), *(f"{self._entry(end)}/{number}" for number in more))
            self._pieces[end] = Part(halves.front, self.takes, entries), Part(halves.rest, entries, self.gives)
        return self._pieces[end]

    def _entry(self, end: str) -> str:
        return f"{self.takes[0]}_cut/{end}"

    def folded(self) -> Part:
        """For inference alone: see `with_folded_batch_norm`."""
        return dataclasses.replace(self, model=with_folded_batch_norm(self.model))


@dataclasses.dataclass(frozen=True)
class Encoder:
    """Batch entries of one side to its outputs; embeddings are not L2-normalised.

    A batch enters at the last part whose entries it holds: at the first with what a request or a data set gives, later
    with what a frozen front has made of it before.

    Attributes:
        parts: one behind the other.
        models: the models that own the variables, by the first part of the variables' names.
    """

    parts: tuple[Part, ...]
    models: Mapping[str, keras.Model]

    @classmethod
    def chain(cls, *parts: Part) -> Encoder:
        """Of parts that own their variables themselves, named as their models are."""
        return cls(parts, {part.model.name: part.model for part in parts})

    @property
    def dim(self) -> int:
        """Size d of an embedding."""
        return self.width()

    def width(self, output: str = "") -> int:
        """Size of the last axis of an output.

        Raises:
            ValueError: there is no such output.
        """
        last = self.parts[-1]
        return int(last.model.outputs[last.gives.index(output)].shape[-1])

    @property
    def takes(self) -> dict[str, keras.KerasTensor]:
        """The entries that come from outside, with their shapes and types."""
        return dict(zip(self.parts[0].takes, self.parts[0].model.inputs, strict=True))

    def entries(self, batch: Entries) -> dict[str, Tensor]:
        """Of a batch, what this encoder begins with.

        Raises:
            KeyError: the batch holds the entries of no part.
        """
        return {name: batch[name] for name in self._remaining(batch)[0].takes}

    def __call__(self, batch: Entries, training: bool = False) -> dict[str, Tensor]:
        """The outputs by name: "" is the embedding, (B, d), or (B, n, d) beside a "mask" (B, n) of those that count."""
        held = dict(batch)
        for part in self._remaining(batch):
            held = part(held, training)
        if "" in held and len(held[""].shape) == 3 and "mask" not in held:
            held["mask"] = keras.ops.ones_like(held[""][..., 0], dtype="bool")
        return held

    def before_last(self, batch: Entries) -> dict[str, Tensor]:
        """What the last part takes of a batch, in inference."""
        *before, last = self._remaining(batch)
        held = dict(batch)
        for part in before:
            held = part(held)
        return {name: held[name] for name in last.takes}

    def front(self) -> Encoder | None:
        """The leading parts that nothing trains, without the last part, and the frozen beginning of the next one.

        None where nothing leads that is frozen.
        """
        frozen = 0
        while frozen < len(self.parts) - 1 and not self.parts[frozen].model.trainable_variables:
            frozen += 1
        piece = self.parts[frozen].frozen_piece()
        parts = (*self.parts[:frozen], *(() if piece is None else (piece,)))
        return Encoder(parts, {}) if parts else None

    def folded(self) -> Encoder:
        """This encoder for inference alone, with batch norms folded into the layers before them."""
        owners = {id(model) for model in self.models.values()}
        # A part of a larger model leaves its variables where they are; a front owns none.
        new = {part: part.folded() if not owners or id(part.model) in owners else part for part in self.parts}
        models = {id(part.model): other.model for part, other in new.items()}
        return Encoder(tuple(new.values()), {name: models.get(id(one), one) for name, one in self.models.items()})

    def then(self, layer: Callable[[keras.KerasTensor], keras.KerasTensor]) -> Encoder:
        """This encoder with `layer` behind its embedding, on the same variables."""
        last = self.parts[-1]
        first, *others = last.model.outputs
        outputs = [layer(first), *others]
        model = keras.Model(last.model.input, outputs if others else outputs[0], name=last.model.name)
        return Encoder((*self.parts[:-1], dataclasses.replace(last, model=model)), {**self.models, model.name: model})

    def as_model(self, name: str) -> keras.Model:
        """From the entries that come from outside to the outputs as one functional model, usable and saveable alone."""
        inputs = {
            entry: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=entry) for entry, tensor in self.takes.items()
        }
        outputs = list(self(inputs).values())
        ends = [given[0] if len(given) == 1 else given for given in (list(inputs.values()), outputs)]
        return keras.Model(*ends, name=name)

    def _remaining(self, batch: Entries) -> tuple[Part, ...]:
        """The parts that a batch has still to pass: from the last one on whose entries it holds."""
        for number, part in reversed(list(enumerate(self.parts))):
            if all(name in batch for name in part.takes):
                return self.parts[number:]
            rest = part.rest(batch)
            if rest is not None:
                return (rest, *self.parts[number + 1 :])
        wanted = " or ".join(", ".join(part.takes) for part in self.parts)
        raise KeyError(f"the batch holds {', '.join(batch)}, but the encoder takes {wanted}")


@dataclasses.dataclass(frozen=True)
class Towers:
    """The encoders of a model's sides, which share one embedding space.

    Attributes:
        sides: "image", or "image" and "text".
        private_dims: how many of an embedding's last dimensions tell the side and nothing else of an item.
    """

    sides: Mapping[str, Encoder]
    private_dims: int = 0

    @property
    def embedding_dim(self) -> int:
        """Size d of the joint embedding."""
        return next(iter(self.sides.values())).dim

    @property
    def named_parts(self) -> dict[str, keras.Model]:
        """The models that own variables, by the first part of the variables' names."""
        return {name: model for encoder in self.sides.values() for name, model in encoder.models.items()}

    def folded(self) -> Towers:
        """These towers for inference alone, see `Encoder.folded`."""
        return dataclasses.replace(self, sides={name: encoder.folded() for name, encoder in self.sides.items()})

    def encode(self, side: str, batch: Entries, training: bool = False) -> dict[str, Tensor]:
        """The outputs of one side, named after it: `image`, `image/mask`, `image/features`, ..."""
        given = self.sides[side](batch, training)
        return {f"{side}/{name}" if name else side: value for name, value in given.items()}
