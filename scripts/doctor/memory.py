"""What this machine can hold, which models fit, and which one to begin with."""

from collections.abc import Iterator

import msgspec

from registry.hub.catalog import CATALOG
from registry.store.store import Entry
from runtime.memory import machine
from runtime.memory.cost import PROCESS_BYTES, memory_of
from runtime.memory.meter import FULL_SHARE, SPARE_BYTES, LiveMeter
from runtime.memory.prediction import longest_row, predict
from scripts.size import in_words
from web.serving import RUNNABLE_KINDS, model_of

from .finding import Finding
from .first_model import first_model, weight_bytes

_ANSWER_TOKENS = 4096  # of prompt and answer, for which a model has to have room to count as one
# Beside its weights a model of the catalog wants room for a conversation: a share of them.
_CATALOG_SHARE = 0.15


class Machine(msgspec.Struct, frozen=True):
    """In bytes."""

    memory: int
    available: int  # without swapping
    working_set: int | None  # the most that the GPU may use; None where there is none
    limit: int  # what all models together may take
    room: int  # of it, what is free now
    held: int  # by models of the server that runs, if one does
    room_drained: int  # when these are unloaded


class ModelFit(msgspec.Struct, frozen=True):
    """A registered model. Bytes, and tokens."""

    id: str
    weights: int
    cache_1k: int  # for each 1,000 tokens of a conversation
    context: int  # its own limit
    context_fits: int  # tokens of one conversation that fit when nothing else is loaded
    fits_now: bool
    fits_drained: bool


class Diagnosis(msgspec.Struct, frozen=True):
    """What `doctor --json` says of memory."""

    machine: Machine
    models: list[ModelFit]
    unreadable: dict[str, str]  # models whose files tell nothing, and why
    catalog: dict[str, bool]  # whether each fits when nothing else is loaded
    largest: str | None  # of the catalog
    not_counted: str | None = None  # why what a server holds is not known, though one answers


def diagnosis(
    entries: list[Entry], held: dict[str, int], not_counted: str | None = None
) -> Diagnosis:
    """Of the registered models, where those in `held` are in memory and take so many bytes."""
    here = measured(sum(held.values()))
    models: list[ModelFit] = []
    unreadable: dict[str, str] = {}
    for entry in entries:
        if not entry.is_ready or entry.kind not in RUNNABLE_KINDS:
            continue
        try:
            models.append(_fit(entry, here, is_loaded=entry.id in held))
        except (OSError, ValueError) as error:
            unreadable[entry.id] = str(error)
    sizes = {known.name: weight_bytes(known) for known in CATALOG.values()}
    catalog = {
        name: size * (1 + _CATALOG_SHARE) + PROCESS_BYTES <= here.room_drained
        for name, size in sizes.items()
    }
    fitting = [name for name, fits in catalog.items() if fits]
    largest = max(fitting, key=lambda name: sizes[name], default=None)
    return Diagnosis(here, models, unreadable, catalog, largest, not_counted)


def measured(held: int) -> Machine:
    """This machine, where models in memory hold so many bytes."""
    memory, working_set = machine.physical_bytes(), machine.working_set_bytes()
    limit = memory - SPARE_BYTES if working_set is None else int(working_set * FULL_SHARE)
    room = LiveMeter(machine.working_set_bytes).read().room
    if working_set is not None:
        room = min(room, limit - held)
    available, drained = machine.available_bytes(), min(limit, room + held)
    return Machine(memory, available, working_set, limit, room, held, drained)


def _fit(entry: Entry, here: Machine, *, is_loaded: bool) -> ModelFit:
    model = model_of(entry)
    memory, context = memory_of(model), model.context_length
    cache = predict(memory, [2000]).cache - predict(memory, [1000]).cache
    needed = predict(memory, [min(_ANSWER_TOKENS, context)]).total
    return ModelFit(
        entry.id,
        memory.weight_bytes,
        cache_1k=cache,
        context=context,
        context_fits=min(context, longest_row(memory, here.room_drained)),
        fits_now=is_loaded or needed <= here.room,
        fits_drained=needed <= here.room_drained,
    )


def findings(told: Diagnosis) -> Iterator[Finding]:
    """Of the machine, and of each model that it is too small for."""
    if told.largest is None:
        yield Finding(
            "memory",
            "warning",
            f"{in_words(told.machine.room_drained)} are there for models: none of the catalog fits",
            "Close other programs; the built-in model needs next to nothing.",
        )
    else:
        yield Finding("memory", "ok", f"{in_words(told.machine.room_drained)} are there for models")
    for model in told.models:
        if not model.fits_drained:
            yield Finding(
                "memory",
                "warning",
                f"{model.id} does not fit: {in_words(model.weights)} of weights alone",
                f"Take one in fewer bits (`mlx-edge convert {model.id} --bits 4`) or a smaller "
                "one (`mlx-edge list --catalog`).",
            )
    for name, reason in told.unreadable.items():
        yield Finding(
            "memory",
            "problem",
            f"{name}: what it takes cannot be told: {reason}",
            f"`mlx-edge verify {name}` says what is wrong with its files.",
        )


def lines(told: Diagnosis) -> Iterator[str]:
    """For people."""
    here = told.machine
    yield f"memory        {in_words(here.memory)}, of which {in_words(here.available)} are free"
    if here.working_set is not None:
        models = f"models get {in_words(here.limit)} of it"
        yield f"GPU           may use {in_words(here.working_set)}; {models}"
    yield f"room now      {in_words(here.room)} for models and conversations"
    if here.held:
        more = f"{in_words(here.room_drained)}, when the models in memory are unloaded"
        yield f"room drained  {more} ({in_words(here.held)} come back)"
    if told.not_counted is not None:
        yield f"not counted   what the server that runs holds: {told.not_counted}"
    yield ""
    if told.models:
        yield f"{'MODEL':32} {'WEIGHTS':>9} {'PER 1K TOKENS':>14} {'CONTEXT THAT FITS':>20}  FITS"
        yield from map(_row, told.models)
    for name, reason in told.unreadable.items():
        yield f"{name:32} cannot be told: {reason}"
    yield ""
    known = ", ".join(name for name, fits in told.catalog.items() if not fits)
    if told.largest is None:
        yield "No model of the catalog fits."
    else:
        first = first_model(told.machine.limit)
        if first is not None and first.name != told.largest:
            size = f"{first.size_bytes / 1e9:.1f} GB to fetch"
            yield f"Fits well: mlx-edge pull {first.name}   ({size})"
        yield f"The largest of the catalog that fits: mlx-edge pull {told.largest}"
    if known:
        yield f"Too large for this machine: {known}"


def _row(model: ModelFit) -> str:
    fits = "now" if model.fits_now else "when others are unloaded" if model.fits_drained else "no"
    share = f"{model.context_fits} of {model.context}"
    cache = in_words(model.cache_1k)
    return f"{model.id:32} {in_words(model.weights):>9} {cache:>14} {share:>20}  {fits}"
