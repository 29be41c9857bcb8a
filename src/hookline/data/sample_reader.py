"""From a sample's index to its image, as a batch has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy
from torch import Tensor

from hookline.config.checks import check_choice
from hookline.config.errors import ConfigError, first_line, told_of
from hookline.data.batch import shape_of
from hookline.data.randomness import sample_generator
from hookline.data.sampler import Sampler
from hookline.data.source import Source, check_image, read_image
from hookline.data.transforms.sample import SampleTransform

ON_ERROR = ("raise", "skip")

# How many samples are tried in the place of one that cannot be read. Were half of all files broken, one place in a
# million would still be without an image.
ATTEMPTS = 20


@dataclass
class Filled:
    """What a part of a batch was filled with.

    Attributes:
        samples: which samples of the source they are.
        broken: what is wrong with those that could not be read, by index.
    """

    samples: list[int] = field(default_factory=list)
    broken: dict[int, str] = field(default_factory=dict)


class SampleReader:
    """Read and transform samples; it holds nothing that changes, so any thread or process does the same with it.

    Args:
        source: what is read.
        transforms: per-sample transforms by name, applied in the order given.
        sampler: which samples there are to be put in the place of a broken one.
        seed: of what transforms draw.
        on_error: what to do about a sample that cannot be read: `raise`, or `skip` it and take another one.
        split: whose transforms these are; None: the source's.
    """

    def __init__(
        self,
        source: Source,
        transforms: Mapping[str, SampleTransform],
        *,
        sampler: Sampler,
        seed: int = 0,
        on_error: str = "raise",
        split: str | None = None,
    ) -> None:
        check_choice("on_error", on_error, ON_ERROR)
        self.source = source
        self.transforms = dict(transforms)
        self.sampler = sampler
        self.seed = seed
        self.on_error = on_error
        self.split = split or source.split

    def fill(
        self,
        images: Tensor,
        epoch: int,
        samples: Sequence[int],
        repeats: Sequence[int],
        note: Callable[[int], None] = lambda sample: None,
    ) -> Filled:
        """Write samples into `images`, uint8 `[n, C, H, W]`, and return which they are.

        Args:
            images: the memory to write into.
            epoch: counted from 0.
            samples: the samples that the epoch has in these places.
            repeats: how many times it had each before.
            note: called with each sample before it is read.
        """
        filled = Filled()
        for place, (sample, repeat) in enumerate(zip(samples, repeats, strict=True)):
            note(sample)
            image, used = self.read(sample, repeat, epoch, filled.broken)
            if image.shape != images.shape[1:]:
                # Written into the batch, an image with one channel would spread over all.
                sizes = f"{shape_of(image.shape)}, and others of its epoch {shape_of(images.shape[1:])}"
                advice = "transforms have to bring all images of a batch to one size (such as augment=imagenet)"
                raise ConfigError(f"data: {self.told(used)}: the image is {sizes}; {advice}")
            images[place].copy_(image)
            filled.samples.append(used)
        return filled

    def read(self, sample: int, repeat: int, epoch: int, broken: dict[int, str]) -> tuple[Tensor, int]:
        """Return the transformed image in the place of a sample, and the index of the sample that it is of.

        A sample that is put in the place of a broken one is transformed as that would have been.

        Args:
            sample: the sample that the epoch has in this place.
            repeat: how many times it had it before.
            epoch: counted from 0.
            broken: gets what is wrong with samples that could not be read, by index.
        """
        used = sample
        for attempt in range(ATTEMPTS):
            try:
                image = read_image(self.source, used)
            except (Exception, SystemExit) as error:  # whatever a source raises about a file
                broken[used] = f"{self.told(used)} cannot be read: {first_line(told_of(error))}"
                if self.on_error == "raise":
                    advice = "data.on_error=skip goes on without such files"
                    raise ConfigError(f"data: {broken[used]} ({advice})") from error
                used = self.sampler.substitute(self.seed, epoch, sample, attempt)
            else:
                return self._transform(image, used, sample, repeat, epoch), used
        raise ConfigError(f"data.on_error=skip: {ATTEMPTS} samples in a row are broken, one of them: {broken[sample]}")

    def told(self, sample: int) -> str:
        """Return what a message calls a sample: its name, and its index where the name does not say it."""
        name, number = self.source.name_of(sample), f"sample {sample}"
        return name if name == number else f"{name} ({number} of the {self.source.split} split)"

    def _transform(self, image: Tensor, used: int, sample: int, repeat: int, epoch: int) -> Tensor:
        for name, transform in self.transforms.items():
            random = sample_generator(self.seed, epoch, name, sample, repeat) if transform.draws else NO_DRAWS
            kind, size = type(transform).__name__, shape_of(image.shape)
            try:
                result = transform(image, random)
                check_image(result, "it")
            except (Exception, SystemExit) as error:  # whatever a transform does with an image
                told = f"augment.{self.split}.{name} ({kind}) cannot transform {self.told(used)}, {size}"
                raise ConfigError(f"{told}: {first_line(told_of(error))}") from error
            image = result
        return image


# What transforms get that draw nothing: making a generator for each would take longer than some of them.
NO_DRAWS = numpy.random.Generator(numpy.random.Philox(0))
