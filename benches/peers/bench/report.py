"""The tables, in Markdown that is also readable in a terminal."""

import textwrap
from statistics import median

SHORT_NAMES = {"restate-steps": "restate, steps"}
WIDTH = 100


def table(header, rows, left=1):
    """Aligns a table. Columns after the first `left` are figures, aligned to the right."""
    texts = [header, *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[column]) for row in texts) for column in range(len(header))]
    rule = ["---" if column < left else "---:" for column in range(len(header))]
    lines = []
    for row in texts:
        cells = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines.insert(1, f"| {' | '.join(rule)} |")
    return "\n".join(lines)


def _spread(values, digits):
    """The median, with minimum and maximum."""
    if None in values:
        return "–"
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    low, high = min(values), max(values)
    return f"{median(values):.{digits}f} ({low:.{digits}f}..{high:.{digits}f})"


def _median(values, digits):
    return "–" if None in values else f"{median(values):.{digits}f}"


def label(name):
    return SHORT_NAMES.get(name, name)


def rates(results):
    """Orders per second and latency."""
    header = ["", "orders/s, 32 clients", "p50 ms", "p99 ms", "one client: p50 ms", "p99 ms"]
    rows = []
    for name, turns in results.items():
        many, one = zip(*turns)
        rows.append(
            [
                label(name),
                _spread([figures.rate for figures in many], 0),
                _median([figures.p50 for figures in many], 1),
                _median([figures.p99 for figures in many], 1),
                _spread([figures.p50 for figures in one], 2),
                _median([figures.p99 for figures in one], 2),
            ]
        )
    return table(header, rows)


def processor_time(results):
    header = ["", "32 clients: ms", "of which PostgreSQL", "one client: ms", "of which PostgreSQL"]
    rows = []
    for name, turns in results.items():
        row = [label(name)]
        for measurements in zip(*turns):
            row.append(_spread([figures.time for figures in measurements], 2))
            row.append(_median([figures.postgres_time for figures in measurements], 2))
        rows.append(row)
    return table(header, rows)


def remarks(results):
    every = [figures for turns in results.values() for turn in turns for figures in turn]
    failed = sum(figures.failed for figures in every)
    others = [100 * figures.others for figures in every]
    return wrap(
        f"Requests without a success: {failed}. Other programs took {median(others):.1f} "
        f"({min(others):.1f}..{max(others):.1f}) % of the machine's processor time."
    )


def kills(reports):
    faults = list(next(iter(reports.values())).faults)
    lines = {
        "orders sent": lambda report: len(report.answers),
        "answered": lambda report: sum(answer.status is not None for answer in report.answers),
        "… of which 202, not finished yet": lambda report: _count(report, 202, 202),
        "… of which 5xx": lambda report: _count(report, 500, 599),
        "without an answer": lambda report: sum(a.status is None for a in report.answers),
        **{name: lambda report, name=name: report.faults[name] for name in faults},
        "s until all were finished": _seconds_to_finish,
    }
    rows = [[name, *map(value, reports.values())] for name, value in lines.items()]
    return table(["", *map(label, reports)], rows)


def _count(report, low, high):
    return sum(answer.status in range(low, high + 1) for answer in report.answers)


def _seconds_to_finish(report):
    seconds = report.seconds_to_finish
    return "never" if seconds is None else f"{seconds:.1f}"


def killed_processes(reports):
    """Which processes were killed, as a list."""
    lines = []
    for name, report in reports.items():
        counts = [f"{role} {count}" for role, count in sorted(report.kills.items())]
        lines.append(f"{label(name)}: {', '.join(counts)}")
    return bullets(lines)


def short(results, reports):
    """The table of the README."""
    header = ["", "orders/s", "p50 ms", "ms CPU", "no answer", "stuck"]
    rows = []
    for name, turns in results.items():
        many, one = zip(*turns)
        report = reports.get(name)
        rows.append(
            [
                label(name),
                _median([figures.rate for figures in many], 0),
                _median([figures.p50 for figures in one], 1),
                _median([figures.time for figures in many], 2),
                sum(a.status is None for a in report.answers) if report else "–",
                report.faults["stuck"] if report else "–",
            ]
        )
    return table(header, rows)


def wrap(text, **indent):
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False, **indent)


def bullets(lines):
    return "\n".join(wrap(line, initial_indent="- ", subsequent_indent="  ") for line in lines)


def full_report(chosen, versions, results, reports):
    names = ("rounds", "seconds", "orders", "kills", "rate", "seed")
    flags = " ".join(f"--{name} {getattr(chosen, name)}" for name in names)
    parts = [
        wrap(f'Measured with `make bench-peers ARGS="{flags}"`.'),
        bullets(versions),
        "### Orders per second and latency: medians over the rounds (min..max)",
        rates(results),
        "### Processor time of an order, ms: medians over the rounds (min..max)",
        processor_time(results),
        remarks(results),
    ]
    if reports:
        parts += [
            f"### {chosen.kills} kills while {chosen.rate} orders arrive each second",
            kills(reports),
            "The processes that were killed:",
            killed_processes(reports),
        ]
    return "\n\n".join(parts)
