"""A plot of each suite as SVG: bars of what was measured by case and server, or figures over time."""
import math
from xml.sax.saxutils import escape

COLOURS = ["#7f8c8d", "#1f6fb4", "#d9822b", "#3d9a50", "#8e5ea2", "#c0392b"]
WIDE, LEFT, LINE = 900, 230, 15


class Svg:
    def __init__(self, wide, high):
        self.parts = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">' % (wide, high),
                      '<rect width="100%" height="100%" fill="white"/>']

    def text(self, x, y, words, anchor="start", **more):
        self.parts.append('<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>' % (x, y, anchor, attributes(more), escape(str(words))))

    def rect(self, x, y, w, h, colour):
        self.parts.append('<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>' % (x, y, max(w, 0.5), h, colour))

    def line(self, x1, y1, x2, y2, colour="#cccccc", **more):
        self.parts.append('<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"%s/>' % (x1, y1, x2, y2, colour, attributes(more)))

    def path(self, points, colour):
        self.parts.append('<polyline fill="none" stroke="%s" stroke-width="1.5" points="%s"/>' % (
            colour, " ".join("%.1f,%.1f" % p for p in points)))

    def write(self, path):
        with open(path, "w") as f:
            f.write("\n".join(self.parts + ["</svg>"]) + "\n")


def attributes(more):
    return "".join(' %s="%s"' % (k.replace("_", "-"), v) for k, v in more.items())


def ticks(top, most=6):
    """Round numbers from 0 to at least top."""
    raw = max(top, 1e-9) / most
    step = 10 ** math.floor(math.log10(raw))
    step *= next(m for m in (1, 2, 5, 10) if m * step >= raw)
    return [k * step for k in range(int(math.ceil(top / step)) + 1)]


def number(v):
    return "%g" % float("%.3g" % v) if v < 1e4 else "{:,.0f}".format(v)


def bars(path, title, results, key, unit):
    """results: {case: {label: {key: value}}}: horizontal bars, the cases one below the other."""
    labels = list(dict.fromkeys(label for by in results.values() for label in by))
    count = sum(len([m for m in by.values() if key in m]) for by in results.values())
    high = 70 + count * LINE + len(results) * 8 + 30
    svg = Svg(WIDE, high)
    svg.text(12, 22, title, font_size=15, font_weight="bold")
    x = LEFT
    for label in labels:
        svg.rect(x, 34, 11, 11, COLOURS[labels.index(label) % len(COLOURS)])
        svg.text(x + 16, 44, label)
        x += 40 + 7 * len(label)
    scale = ticks(max([m[key] for by in results.values() for m in by.values() if key in m] or [1]))
    across = (WIDE - LEFT - 90) / scale[-1]
    for t in scale:
        svg.line(LEFT + t * across, 56, LEFT + t * across, high - 24)
        svg.text(LEFT + t * across, high - 8, number(t), "middle", fill="#555555")
    svg.text(LEFT - 10, high - 8, unit, "end", fill="#555555")
    y = 62
    for case, by in results.items():
        svg.text(LEFT - 8, y + LINE * max(1, len(by)) / 2 + 4, case, "end")
        for label in labels:
            if key not in by.get(label, {}):
                continue
            value = by[label][key]
            svg.rect(LEFT, y + 1, value * across, LINE - 3, COLOURS[labels.index(label) % len(COLOURS)])
            svg.text(LEFT + value * across + 5, y + LINE - 4, number(value), font_size=10, fill="#333333")
            y += LINE
        y += 8
    svg.write(path)


def over_time(path, title, every_ms, panels, marks):
    """panels: [(what, [value of each interval])], one below the other over the same time; marks: {name: ms}."""
    high, panel = 60 + 230 * len(panels), 170
    svg = Svg(WIDE, high)
    svg.text(12, 22, title, font_size=15, font_weight="bold")
    total = every_ms * max(len(values) for _, values in panels)
    across = (WIDE - 90 - 20) / total
    for k, (what, values) in enumerate(panels):
        top, scale = 66 + 230 * k, ticks(max(values or [1]))
        foot, up = top + panel, panel / scale[-1]
        svg.text(90, top - 10, what, font_weight="bold")
        for t in scale:
            svg.line(90, foot - t * up, WIDE - 20, foot - t * up)
            svg.text(84, foot - t * up + 4, number(t), "end", fill="#555555")
        for t in ticks(total / 1e3, 10):
            if t * 1e3 <= total:
                svg.text(90 + t * 1e3 * across, foot + 16, "%g s" % t, "middle", fill="#555555")
        for name, ms in marks.items():
            svg.line(90 + ms * across, top, 90 + ms * across, foot, "#c0392b", stroke_dasharray="4 3")
            svg.text(90 + ms * across + 4, top + 11, name, fill="#c0392b", font_size=11)
        svg.path([(90 + (i + 0.5) * every_ms * across, foot - v * up) for i, v in enumerate(values)], COLOURS[1])
    svg.write(path)


# ---- what each suite draws

def draw(suite, result, base):
    """Writes the plots of a suite beside its JSON; returns their paths."""
    def one(ending, title, results, key, unit):
        bars(base + ending, title, results, key, unit)
        return base + ending
    cpu = ("server_us_per_op", "CPU us/op")
    if suite in ("commands", "mixed", "skew", "threads", "spanning", "ring"):
        return [one(".svg", "%s: server CPU per operation" % suite, result, *cpu)]
    if suite == "memory":
        return [one("-%s.svg" % part, "memory: bytes of RSS, %s" % part, by, "bytes", "bytes") for part, by in result.items()]
    if suite == "durability":
        return [one("-everysec.svg", "everysec: CPU of all threads per SET, flushes and compactions counted", result["everysec"],
                    "with_background_us_per_op", "CPU us/op"),
                one("-always.svg", "always: SETs per second", result["always"], "rps", "ops/s")]
    if suite == "restart":
        by = {text: {label: {"s": m[key]} for label, m in result.items()} for text, key in (("after a clean end", "clean_s"), ("after kill -9", "killed_s"))}
        return [one(".svg", "restart: seconds until all keys are read", by, "s", "s")]
    if suite == "connections":
        idle = {"idle connection": {label: {"bytes": sorted(each)[len(each) // 2]} for label, each in result["idle"].items()}}
        return [one("-idle.svg", "connections: bytes of RSS each", idle, "bytes", "bytes"),
                one(".svg", "GET beside idle connections", result["busy"], *cpu)]
    if suite == "turns":
        by = {name: {"largest": {"ms": max(each)}, "median": {"ms": sorted(each)[len(each) // 2]}} for name, each in result.items()}
        return [one(".svg", "longest turn of the loop, CPU time of its thread", by, "ms", "ms")]
    if suite == "failure":
        whole = result["series"][:-1]
        over_time(base + ".svg", "One node of three is killed and comes back", result["every_ms"],
                  [("operations per second", [r[0] * 1e3 / result["every_ms"] for r in whole]), ("p99, ms", [r[2] / 1e3 for r in whole]),
                   ("errors and lost requests", [r[3] for r in whole])],
                  {"killed": result["killed_ms"], "started again": result["back_ms"]})
        return [base + ".svg"]
    raise ValueError("no plot for " + suite)
