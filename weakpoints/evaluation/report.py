"""Figures as text, and all studies as one HTML page that needs no network."""

import base64
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from weakpoints.evaluation.montage import COLUMNS

CHARTS = (
    "f1",
    "corrected_recall",
    "repeatability",
    "deletion",
    "insertion",
    "keypoints",
    "half_area",
    "stable",
)
LONG = {"behind_ours", "by_class", "by_layout", "interval"}  # too much for a terminal
PAIRED = {"differences", "by_set", "by_class"}  # of many methods: read them in the JSON
STYLE = "body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem } img { max-width: 100% }"


def flat(figures: Mapping[str, Any]) -> str:
    """A line a method: its numbers by name, those keyed by alpha in a row.

    Tables within follow under their name.
    """
    lines = []
    for title, table in tables(figures):
        for name, row in table.items():
            lines.append(
                f"{title + name:24} "
                + "  ".join(f"{key} {_cell(value)}" for key, value in row.items() if not _long(key))
            )
    return "\n".join(lines)


def tables(
    figures: Mapping[str, Any], title: str = ""
) -> Iterator[tuple[str, dict[str, Mapping[str, Any]]]]:
    """Each table within the figures: its title, and its rows by name.

    Single numbers are a row of one.
    """
    rows: dict[str, Mapping[str, Any]] = {}
    deeper: list[tuple[str, Mapping[str, Any]]] = []
    for name, value in figures.items():
        if name in PAIRED:
            continue
        if isinstance(value, list):
            rows |= {
                f"{name} {i + 1}": row if isinstance(row, Mapping) else {"": row}
                for i, row in enumerate(value)
            }
        elif not isinstance(value, Mapping):
            rows[name] = {"": value}
        elif any(
            isinstance(part, Mapping) and "points_per_image" in part for part in value.values()
        ):
            deeper.append((f"{title}{name}/", value))
        else:
            rows[name] = value
    yield title, rows
    for under, value in deeper:
        yield from tables(value, under)


def page(
    title: str,
    studies: Mapping[str, tuple[str, Mapping[str, Any]]],
    rows: Sequence[Mapping[str, Any]],
) -> str:
    """studies: by name, what it asks and its figures; rows: of `montage`.

    Needs Matplotlib where figures have intervals.
    """
    parts = [f"<h1>{escape(title)}</h1>"]
    for name, (question, figures) in studies.items():
        parts.append(f"<h2>{escape(name)}</h2><p>{escape(question)}</p>")
        parts += [
            _picture(png, f"{under or name} with 95 % intervals")
            for under, table in tables(figures)
            if (png := _charts(table))
        ]
        parts.append(f"<pre>{escape(flat(figures))}</pre>")
        whole = escape(json.dumps(figures, indent=1))
        parts.append(f"<details><summary>all figures</summary><pre>{whole}</pre></details>")
    if rows:
        parts.append(f"<h2>montage</h2><p>{escape(', '.join(COLUMNS))}</p>")
    parts += [_picture(row["png"], f"{row['name']}: {row['said']}") for row in rows]
    head = (
        '<meta charset="utf-8"><meta name="generator" content="weakpoints">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
    )
    return (
        f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'
    )


def _picture(png: bytes, caption: str) -> str:
    data, caption = base64.b64encode(png).decode(), escape(caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _charts(table: Mapping[str, Mapping[str, Any]]) -> bytes | None:
    """One PNG, a chart for each of CHARTS that has intervals: a bar a method; None without any.

    Of figures keyed by alpha, the one at 0.1.
    """
    bars = {name: found for name in CHARTS if (found := _bars(name, table))}
    if not bars:
        return None
    from matplotlib.figure import Figure  # an extra, which the commands ask for

    figure = Figure(figsize=(4 * len(bars), 0.8 + 0.25 * len(table)), layout="constrained")
    for axes, (name, found) in zip(
        figure.subplots(1, len(bars), squeeze=False)[0], bars.items(), strict=True
    ):
        methods, values, below, above = zip(*found, strict=True)
        axes.barh(methods, values, xerr=(below, above))
        axes.invert_yaxis()  # the first method on top
        axes.set_title(f"{name} at 0.1" if _by_alpha(name, table) else name)
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def _bars(
    figure: str, table: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, float, float, float]]:
    """Of each method that has the figure: its name, the figure, and how far the interval reaches
    below and above it.
    """
    bars = []
    for method, row in table.items():
        if not isinstance(intervals := row.get("interval"), Mapping):  # a curve's is of one figure
            continue
        value, span = _at(row.get(figure)), _at(intervals.get(figure))
        if value is not None and span is not None:
            bars.append((method, value, max(0.0, value - span[0]), max(0.0, span[1] - value)))
    return bars


def _by_alpha(figure: str, table: Mapping[str, Mapping[str, Any]]) -> bool:
    return any(isinstance(row.get(figure), Mapping) for row in table.values())


def _at(value: Any) -> Any:
    return value["0.1"] if isinstance(value, Mapping) else value


def _long(key: str) -> bool:
    return key in LONG or key.endswith("_interval")


def _cell(value: Any) -> str:
    match value:
        case Mapping():
            return "/".join(map(_cell, value.values()))
        case [low, high]:
            return f"{_cell(low)} to {_cell(high)}"
        case float():
            return f"{value:.3f}"
        case None:
            return "-"
    return str(value)
