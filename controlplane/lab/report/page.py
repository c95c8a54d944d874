"""One HTML file: text, tables and pictures, no scripts, nothing loaded from anywhere.

Colours come from the reader's theme; the pictures take the page's colour of text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from controlplane.lab.report.style import GREY, short

_CSS = """
:root { color-scheme: light dark; --text: #1f2328; --back: #ffffff; --line: #d1d9e0; --faint: #59636e;
  --code: #f6f8fa; }
@media (prefers-color-scheme: dark) { :root { --text: #e6edf3; --back: #0d1117; --line: #3d444d;
  --faint: #9198a1; --code: #151b23; } }
body { color: var(--text); background: var(--back); font: 16px/1.5 system-ui, sans-serif;
  max-width: 62rem; margin: 0 auto; padding: 1rem 1.5rem 4rem; }
h1 { font-size: 1.7rem; margin-bottom: 0.2rem; } h2 { font-size: 1.25rem; margin-top: 2.4rem; }
p.lead { font-size: 1.1rem; } .faint, figcaption, caption { color: var(--faint); }
table { border-collapse: collapse; margin: 0.8rem 0; font-size: 0.92rem; font-variant-numeric: tabular-nums; }
div.wide { overflow-x: auto; } caption { text-align: left; padding: 0.3rem 0; }
th, td { padding: 0.25rem 0.8rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; }
th:first-child, td:first-child, td.text, th.text { text-align: left; } thead th { border-bottom-width: 2px; }
pre { background: var(--code); padding: 0.7rem 1rem; overflow-x: auto; border-radius: 6px; }
figure { margin: 1.4rem 0; } figure svg { max-width: 100%; height: auto; }
figure svg text { font-family: system-ui, sans-serif !important; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.2rem 1rem; } dt { font-weight: 600; }
dd { margin: 0; } details { margin: 0.5rem 0; } summary { cursor: pointer; }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """The whole file."""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def heading(text: str, level: int = 2) -> str:
    return f"<h{level}>{escape(text)}</h{level}>"


def paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def code(text: str) -> str:
    return f"<pre><code>{escape(text)}</code></pre>"


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; the first column names the row.  Numbers are shown with three digits, None as nothing."""
    rows = [list(row) for row in rows]
    wordy = [any(isinstance(row[at], str) for row in rows) for at in range(len(head))]
    kinds = [' class="text"' if words else "" for words in wordy]
    top = "".join(f'<th scope="col"{kinds[at]}>{escape(name)}</th>' for at, name in enumerate(head))
    body = []
    for row in rows:
        first, *rest = (escape(_shown(cell)) for cell in row)
        cells = "".join(f"<td{kinds[at + 1]}>{cell}</td>" for at, cell in enumerate(rest))
        body.append(f'<tr><th scope="row" class="text">{first}</th>{cells}</tr>')
    return (
        f'<div class="wide"><table><caption>{escape(caption)}</caption>\n<thead><tr>{top}</tr></thead>\n'
        f"<tbody>\n" + "\n".join(body) + "\n</tbody></table></div>"
    )


def facts(values: Mapping[str, object]) -> str:
    """Names and values, nested as they are."""
    lines = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            shown = facts(value) if value else "none"
        elif isinstance(value, list | tuple):
            shown = escape(" ".join(_shown(one) for one in value)) or "none"
        else:
            shown = escape(_shown(value)) or "none"
        lines.append(f"<dt>{escape(str(name))}</dt><dd>{shown}</dd>")
    return "<dl>" + "".join(lines) + "</dl>"


def folded(title: str, content: str) -> str:
    """Something that only some readers want."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def picture(file: Path, name: str, caption: str) -> str:
    """A drawn SVG, put into the page; `name` makes its identifiers different from other pictures'."""
    drawn = _inline(file.read_text(encoding="utf-8"), name, caption)
    return f"<figure>{drawn}\n<figcaption>{escape(caption)}</figcaption></figure>"


def _inline(svg: str, name: str, label: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\b(id|aria-labelledby)="([^"]+)"', rf'\1="{name}-\2"', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)
    svg = svg.replace(GREY, "currentColor")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(label, quote=True)}" ', 1)


def _shown(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return short(cell) if isinstance(cell, float) else str(cell)
