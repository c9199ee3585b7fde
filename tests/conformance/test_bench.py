"""The arithmetic of the benchmark's table."""

from __future__ import annotations

from celeriac_conformance.bench import Round, report


def entry(name: str, *, seconds: float, cpu_s: float) -> Round:
    """Make one measured round of 1000 tasks."""
    return Round(
        implementation=name,
        tasks=1000,
        seconds=seconds,
        cpu_s=cpu_s,
        startup_cpu_s=0.5,
        memory_mb=40.0,
    )


def test_a_round_gives_rate_and_cost_per_task() -> None:
    found = entry("ours", seconds=2.0, cpu_s=0.5)
    assert (found.rate, found.cpu_ms_per_task) == (500.0, 0.5)


def test_the_table_shows_median_range_and_ratio_to_the_reference() -> None:
    rounds = [
        entry("celery", seconds=4.0, cpu_s=2.0),
        entry("ours", seconds=1.0, cpu_s=0.5),
        entry("ours", seconds=2.0, cpu_s=0.4),
        entry("celery", seconds=5.0, cpu_s=2.0),
        entry("ours", seconds=0.5, cpu_s=0.6),
    ]
    lines = report(rounds, reference="celery")
    assert "1000 (500-2000)" in lines[2]
    assert "0.500 (0.400-0.600)" in lines[2]
    assert lines[3] == "ours against celery: 4.44 x the rate, 4.00 x less CPU per task"
