"""/health, /ready and /metrics: for supervisors and dashboards."""

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from quart import Blueprint, Response

from runtime.pool import ModelPool
from runtime.slot import Outcome
from runtime.ticket import Interruption
from web.readiness import readiness
from web.services import Services
from web.transport.reply import json_reply


def blueprint(services: Services) -> Blueprint:
    """The routes, at the root."""
    pool, store = services.pool, services.store
    routes = Blueprint("health", __name__)
    metrics = CollectorRegistry()
    metrics.register(_PoolMetrics(pool))

    @routes.get("/health")
    async def health() -> Response:
        # Liveness: that this answers is all it says.
        return json_reply({"status": "ok"})

    @routes.get("/ready")
    async def ready() -> Response:
        state = await readiness(pool, store)
        if state == "ready":
            return json_reply({"status": state})
        return json_reply({"status": state}, 503, {"Retry-After": "5"})

    @routes.get("/metrics")
    async def show_metrics() -> Response:
        return Response(generate_latest(metrics), content_type=CONTENT_TYPE_LATEST)

    return routes


class _PoolMetrics(Collector):
    """Reads the pool when asked: nothing is counted twice."""

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool

    def collect(self) -> Iterable[Metric]:
        loaded = self._pool.residency.loaded()
        for name, help_text, values in (
            ("requests_running", "Requests being computed", [m.num_running for m in loaded]),
            ("requests_waiting", "Requests in the queue", [m.num_waiting for m in loaded]),
            ("engine_rows", "Rows the engine holds", [m.num_rows for m in loaded]),
            (
                "rows_set_aside",
                "Rows that left the batch for a more urgent one or for want of memory, and wait",
                [m.num_aside for m in loaded],
            ),
            (
                "requests_waiting_for_memory",
                "Requests in the queue that would run if there were memory for them",
                [m.num_short for m in loaded],
            ),
            ("memory_bytes", "Memory of the engine", [m.memory_bytes for m in loaded]),
            (
                "prefix_cache_bytes",
                "Of that, what is kept of prompts",
                [m.cache.num_bytes for m in loaded],
            ),
            (
                "decode_tokens_per_second",
                "Average decode speed",
                [m.avg_tokens_per_second or 0 for m in loaded],
            ),
        ):
            family = GaugeMetricFamily(f"mlx_edge_{name}", help_text, labels=["model"])
            for model, value in zip(loaded, values, strict=True):
                family.add_metric([model.model.id], value)
            yield family
        drawn = CounterMetricFamily("mlx_edge_tokens_drawn", "Tokens drawn", labels=["model"])
        for name, total in self._pool.residency.tokens_drawn().items():
            drawn.add_metric([name], total)
        yield drawn
        pool = self._pool
        budget, in_use = pool.residency.budget, sum(m.memory_bytes for m in loaded)
        room = budget.meter.read().room
        for name, help_text, num_bytes in (
            ("in_use", "Memory of all engines", in_use),
            ("reserved", "What loads and rows were promised and do not hold yet",
             budget.promised_bytes()),
            ("limit", "What all engines may have, by what the machine has free now", in_use + room),
        ):  # fmt: skip
            yield GaugeMetricFamily(f"mlx_edge_memory_{name}_bytes", help_text, value=num_bytes)
        outcomes, reasons = get_args(Outcome), get_args(Interruption)
        yield _counter(
            "requests", "Requests by how they ended", "outcome", outcomes, pool.outcomes()
        )
        yield _counter(
            "rows_interrupted",
            "Rows that left the batch before their answer was whole, by why",
            "reason",
            reasons,
            pool.interruptions(),
        )
        yield _counter(
            "rows_continued",
            "Rows that went on after that, by why they had left",
            "reason",
            reasons,
            pool.continuations(),
        )


def _counter(
    name: str,
    help_text: str,
    label: str,
    values: Iterable[str],
    counts: Mapping[str, Mapping[Any, int]],
) -> CounterMetricFamily:
    """One number for each model and value of the label; from 0, so that its first rise is seen."""
    family = CounterMetricFamily(f"mlx_edge_{name}", help_text, labels=["model", label])
    for model, counted in counts.items():
        for value in values:
            family.add_metric([model, value], counted.get(value, 0))
    return family
