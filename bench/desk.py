"""The desk as an annotator meets it: a hundred items by keyboard in Chromium, from the key to the next item on screen."""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys

import psycopg
from playwright.sync_api import Page, Request, sync_playwright

from bench.labelling import ROOT, Database, database, serving
from bench.measure import Measure

ITEMS = 100
READING = 250  # ms; several times faster than a person, so that nothing is hidden by waiting
SUBMIT = re.compile(r"/assignments/\d+/submit/$")
SENT = "!Object.keys(localStorage).some(k => k.includes('outbox') && localStorage[k] !== '[]')"
PASSWORD = "a desk of ones own"
# From the key to the first frame that shows another item: the frame after the change, as the eye gets it.
WATCH = """() => {
  window.spent = []; window.shift = 0; let pressed = 0;
  addEventListener("keydown", () => { pressed = performance.now(); }, true);
  const desk = document.getElementById("desk");
  new MutationObserver(() => desk.dataset.assignment && requestAnimationFrame(() => setTimeout(
    () => window.spent.push(performance.now() - pressed)))).observe(desk, { attributeFilter: ["data-assignment"] });
  new PerformanceObserver((list) => { for (const one of list.getEntries()) window.shift += one.value; })
    .observe({ type: "layout-shift", buffered: true });
}"""


def run() -> list[Measure]:
    """Needs PostgreSQL and Chromium; says so and measures nothing where one is missing."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        psycopg.connect("dbname=postgres", connect_timeout=3).close()
    except psycopg.OperationalError as error:
        chromium = None
        print(f"desk: {str(error).splitlines()[0]}", file=sys.stderr)
    if chromium is None:
        print("desk: left out, it needs PostgreSQL and Chromium", file=sys.stderr)
        return []
    with database("cxlab_bench_desk", ITEMS) as made:
        _prepare(made)
        with serving(made) as port, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
            return _label_all(page, f"http://127.0.0.1:{port}", made)


def _prepare(made: Database) -> None:
    """A password for the first member, and the static files as they are served in service: compressed."""
    for command in (["user", "p0", "--role", "annotator", "--password", PASSWORD], ["collectstatic", "--no-input"]):
        whole = [sys.executable, "manage.py", *command]
        subprocess.run(whole, cwd=ROOT, env=made.environment, check=True, capture_output=True)


def _label_all(page: Page, address: str, made: Database) -> list[Measure]:
    page.goto(f"{address}/sign-in/?next=/label/")
    page.fill("[name=username]", "p0")
    page.fill("[name=password]", PASSWORD)
    page.click("main button")
    page.wait_for_load_state("networkidle")
    # As on a machine that never saw the site: signing in has brought what the pages share.
    cache = page.context.new_cdp_session(page)
    cache.send("Network.enable")
    cache.send("Network.setCacheDisabled", {"cacheDisabled": True})
    done: list[Request] = []
    page.on("requestfinished", lambda one: done.append(one))
    page.goto(f"{address}/label/bench/")
    page.wait_for_selector("#turns li")
    page.wait_for_load_state("networkidle")
    first = _kilobytes(done)
    done.clear()
    cache.send("Network.setCacheDisabled", {"cacheDisabled": False})
    page.evaluate(WATCH)
    for number in range(ITEMS):
        page.wait_for_selector("#desk[data-assignment]")
        page.wait_for_timeout(READING)
        page.context.set_offline(number in range(40, 50))
        _press(page, "123"[number % 3], last=number == ITEMS - 1)
        page.context.set_offline(False)
    page.wait_for_function(SENT)
    page.wait_for_load_state("networkidle")
    spent = sorted(page.evaluate("window.spent"))
    submits = [one for one in done if SUBMIT.search(one.url)]
    labels, units = _stored(made)
    return [
        Measure("key to next item, median", statistics.median(spent), None, "ms", "", ""),
        Measure("key to next item, 95th percentile", spent[int(0.95 * len(spent))], None, "ms", "", "at most 50"),
        Measure("key to next item, slowest", spent[-1], None, "ms", "", ""),
        Measure(
            "labels stored, ten answered without a network", labels, units, "labels", "items", f"{ITEMS}, once each"
        ),
        Measure("requests a label", len(submits) / ITEMS, None, "requests", "", "1"),
        Measure("first load", first, None, "kB", "", "at most 100"),
        Measure("an item", _kilobytes(done) / ITEMS, None, "kB", "", "at most 15"),
        Measure("layout shift", page.evaluate("window.shift"), None, "score", "", "0"),
    ]


def _kilobytes(requests: list[Request]) -> float:
    """What came over the wire, headers included."""
    sizes = [one.sizes() for one in requests]
    return sum(one["responseBodySize"] + one["responseHeadersSize"] for one in sizes) / 1000


def _press(page: Page, key: str, *, last: bool) -> None:
    before = page.get_attribute("#desk", "data-assignment")
    page.keyboard.press(key)
    if not last:
        page.wait_for_function("before => document.getElementById('desk').dataset.assignment !== before", arg=before)


def _stored(made: Database) -> tuple[int, int]:
    with psycopg.connect(f"dbname={made.name}") as link:
        row = link.execute("SELECT count(*), count(DISTINCT item_id) FROM labeling_label").fetchone()
    assert row is not None
    return int(row[0]), int(row[1])
