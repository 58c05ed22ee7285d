"""The guide to losses, made from their docstrings: it cannot say anything else than they do."""

from __future__ import annotations

import inspect
import itertools
import re
import sys
import textwrap

from .loss import BaseLoss, _registry, find

NOTATION = """\
y is `y_true`, z is `y_pred`, r = z - y. For binary losses s = ±1 is the label's sign, m = s·z the margin,
p = sigmoid(z), and p_t = sigmoid(m) the probability of the true label. With a log link the prediction is e^z.
Multiclass losses take a row z_c of scores, with q = softmax(z), targets t_c or a class t, and lse = log Σ_c e^(z_c).
Gradients and Hessians are by z. Losses of images, pairs and batches say what they take, and have no Hessians."""

_SHORT = ("Formula", "Range", "Activation", "Use")  # the fields that the tables show
_COLUMNS = (27, 34, 13, 12, 26)  # their widths in print, after that of the name
_WIDTH = 116  # of a page: that of docstrings


def guide(name: str | None = None) -> None:
    """Prints a guide to all losses, or the page of one.

    Parameters
    ----------
    name : str, optional
        As `get` takes it. Without it: a table of all losses.

    Raises
    ------
    ValueError
        When no loss has this name; the message lists all.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.guide("mae")  # doctest: +ELLIPSIS
    AbsoluteError()
    <BLANKLINE>
    Absolute error: |z - y|.
    <BLANKLINE>
    Over a constant its minimiser is the median of y.
    <BLANKLINE>
    Formula       |r|
    Range         [0, inf)
    Gradient      sign(r), 0 at r = 0
    ...
    """
    print(_table() if name is None else _page(find(name)))


def sections(cls: type[BaseLoss]) -> dict[str, str]:
    """{title: text} of a loss's docstring; what stands before the first title is under ""."""
    parts = re.split(r"^(\w+)\n-+\n", inspect.getdoc(cls) or "", flags=re.M)
    return {title: text.strip() for title, text in zip(["", *parts[1::2]], parts[::2], strict=True)}


def fields(cls: type[BaseLoss]) -> dict[str, str]:
    """{field: text} of the Notes in a loss's docstring."""
    return {field: " ".join(text.split())
            for field, text in re.findall(r"^:([^:\n]+):(.*(?:\n +.*)*)", sections(cls)["Notes"], re.M)}


def markdown_table() -> str:
    """All losses as the README has them, between its `guide` marks."""
    lines = [NOTATION]
    for title, losses in _families().items():
        lines += ["", f"**{title}**", "", "| class | loss of a sample | range | activation | use | other names |",
                  "|---|---|---|---|---|---|"]
        for cls in losses.values():
            about = fields(cls)
            cells = [f"`{_signature(cls, 45)}`", *(about[field] for field in _SHORT),
                     ", ".join(f"`{alias}`" for alias in cls.aliases)]
            lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines)


def _table() -> str:
    lines = [_plain(NOTATION)]
    for title, losses in _families().items():
        lines += ["", title, "", _row(["Name", *_SHORT]), _row(["-" * width for width in _COLUMNS])]
        lines += [_row([name, *map(fields(cls).__getitem__, _SHORT)]) for name, cls in losses.items()]
    return "\n".join([*lines, "", 'guide("huber") says more about one.'])


def _row(cells: list[str]) -> str:
    """Cells side by side, each wrapped to the width of its column."""
    wrapped = [textwrap.wrap(_plain(cell), width, break_on_hyphens=False)
               for cell, width in zip(cells, _COLUMNS, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, _COLUMNS)).rstrip()
                     for line in itertools.zip_longest(*wrapped, fillvalue=""))


def _page(cls: type[BaseLoss]) -> str:
    parts = sections(cls)
    names = ", ".join(repr(name) for name in (*_registry, *cls.aliases) if find(name) is cls)
    lines = [_signature(cls), "", parts[""], ""]
    for label, text in {**fields(cls), "Names in get": names}.items():
        lines += textwrap.wrap(f"{label:14}{text}", _WIDTH, subsequent_indent=14 * " ", break_on_hyphens=False)
    for title in ("Parameters", "References"):
        if title in parts:
            lines += ["", title, textwrap.indent(parts[title], "    ")]
    return _plain("\n".join(lines))


def _signature(cls: type[BaseLoss], width: int | None = None) -> str:
    """The class with its parameters; of a given width, without class_weight, and "…" for what does not fit."""
    parameters = [f"{name}={parameter.default!r}".replace("'", '"')
                  for name, parameter in inspect.signature(cls).parameters.items()
                  if width is None or name != "class_weight"]
    text = f"{cls.__name__}({', '.join(parameters)})"
    while width is not None and len(text) > width:
        parameters.pop()
        text = f"{cls.__name__}({', '.join([*parameters, '…'])})"
    return text


def _families() -> dict[str, dict[str, type[BaseLoss]]]:
    """{title: {name: class}}: the losses of each module, in the order they stand there; modules by name."""
    families: dict[str, dict[str, type[BaseLoss]]] = {}
    for name, cls in sorted(_registry.items(), key=lambda item: item[1].__module__):
        title = (sys.modules[cls.__module__].__doc__ or "").split(".")[0]
        families.setdefault(title, {})[name] = cls
    return families


def _plain(text: str) -> str:
    """Without the marks of code and italics."""
    return re.sub(r"`+([^`]*)`+|\*([^*]*)\*", r"\1\2", text)
