"""The report's page, used in a headless Chromium with the network off."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.sweep.sweeps import write_grid, write_job

from hookline.sweep.jobs import read_sweep
from hookline.sweep.report import make_report, write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

EVIL = "<img src=x onerror=document.title='hit'>"


# The tests share a browser, so one process of the suite runs them all.
pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def open_report(browser):
    """Return a function that writes the report on a folder and opens it; what went wrong in the page fails the test."""
    told, requests = [], []
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})

    def open_(folder: Path):
        write_report(make_report([read_sweep(folder)]), folder)
        page = context.new_page()
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto((folder / "report.html").as_uri())
        return page

    yield open_
    context.close()
    assert told == []
    assert all(url.startswith(("file:", "data:")) for url in requests)


def column(page, table: str, head: str) -> list[str]:
    """Return the texts of a column, of the rows that are shown."""
    heads = page.locator(f"#{table} th").all_inner_texts()
    place = 1 + next(n for n, text in enumerate(heads) if text.strip(" ▲▼") == head)
    return page.locator(f"#{table} tbody tr:visible td:nth-child({place})").all_inner_texts()


def painted(page, place: str) -> int:
    """Return how many colours the lines of a chart have, greys aside."""
    return page.evaluate(
        """(place) => {
            const canvas = document.querySelector(`#${place} canvas`);
            if (!canvas) return 0;
            const bytes = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            const found = new Map();
            for (let i = 0; i < bytes.length; i += 4) {
                const [r, g, b, a] = bytes.slice(i, i + 4);
                if (a === 255 && Math.max(r, g, b) - Math.min(r, g, b) > 90)
                    found.set(`${r},${g},${b}`, 1 + (found.get(`${r},${g},${b}`) || 0));
            }
            return [...found.values()].filter((count) => count > 12).length;
        }""",
        place,
    )


def test_sort_filter_choose_and_follow(open_report, tmp_path):
    page = open_report(
        write_grid(tmp_path / "s", {("linear", 10): [90.0, 91.0], ("exp", 2): [80.0, 81.0], (EVIL, 2): [85.0, 87.5]})
    )
    assert page.title() == "s: val/top1"
    assert "90.5" in page.inner_text("#answer")
    assert column(page, "points", "warmup") == ["linear", EVIL, "exp"]
    page.click("#points th button:text-is('lr')")
    assert column(page, "points", "lr") == ["2", "2", "10"]
    page.click("#points th button:text-is('lr')")
    assert column(page, "points", "lr") == ["10", "2", "2"]
    page.click("#jobs th button:text-is('val/top1')")
    assert [float(cell) for cell in column(page, "jobs", "val/top1")] == [80.0, 81.0, 85.0, 87.5, 90.0, 91.0]

    assert painted(page, "chart") == 3
    assert painted(page, "rates") >= 1
    page.fill("#filter", "warmup=exp -seed=0")
    assert column(page, "points", "warmup") == ["exp"]
    assert column(page, "jobs", "seed") == ["1"]
    assert page.inner_text("#shown") == "1 of 3 points, 1 of 6 jobs"
    assert painted(page, "chart") == 1
    page.fill("#filter", "")
    page.click("#none")
    assert painted(page, "chart") == 0
    page.click("#all")
    page.select_option("#number", "val/loss")
    assert painted(page, "chart") == 3
    assert page.inner_text("#chart .u-title") == "val/loss"

    href = page.locator("#jobs tbody a").first.get_attribute("href")
    assert (tmp_path / "s" / href / "result.json").is_file()


@pytest.mark.parametrize("case", ["one job", "nothing measured", "all states", "many points"])
def test_it_opens_whatever_there_is(open_report, tmp_path, case):
    folder, lr = tmp_path / "s", "optimizer.lr"
    if case == "one job":
        write_job(folder / "0", {}, [90.0])
    elif case == "nothing measured":
        write_job(folder / "0", {lr: 1}, status="")
        write_job(folder / "1", {lr: 2}, status="failed", reason=EVIL)
    elif case == "all states":
        write_job(folder / "0", {lr: 1}, [90.0, 91.0])
        write_job(folder / "1", {lr: 1}, [10.0], seed=1, status="diverged")
        write_job(folder / "2", {lr: 2}, [50.0], status="running")
        write_job(folder / "3", {lr: 3}, status="failed", reason="out of memory")
    else:
        write_grid(folder, {("linear", n): [50.0 + n] for n in range(40)})
    page = open_report(folder)
    jobs = page.locator("#jobs tbody tr").count()
    assert jobs == len([path for path in folder.iterdir() if path.is_dir()])
    page.click("#all")
    if case == "all states":
        assert column(page, "jobs", "state") == ["done", "diverged", "failed", "running"]
        assert "1 diverged" in page.inner_text("#points")
        assert "missing" in page.inner_text("#points")
        assert "out of memory" in page.inner_text("#jobs")


def headline(open_report, folder, scores) -> str:
    page = open_report(write_grid(folder, scores))
    return page.inner_text("#answer")


def test_the_headline_says_no_more_than_the_intervals(open_report, tmp_path):
    worse, one = {("none", 1): [50.0, 51.0, 52.5]}, {("exp", 1): [90.9]}
    best = {("linear", 1): [90.0, 91.0, 92.0]}
    assert "Every other point is worse" in headline(open_report, tmp_path / "a", best | worse)
    told = headline(open_report, tmp_path / "b", best | worse | one)
    assert "Every" not in told
    assert "1 worse, 1 without an interval" in told
    equal = headline(open_report, tmp_path / "c", best | worse | {("exp", 1): [90.0, 91.0, 92.0]})
    assert "1 worse, 1 without an interval" in equal
    # The best mean is that of a seed which the other point lacks.
    scores = {("a", 1): [80.0, 81.0, 99.0], ("b", 1): [85.0, 86.1], ("c", 1): [79.0, 82.0, 30.0]}
    better = headline(open_report, tmp_path / "d", scores)
    assert "1 not to be told apart from it, 1 better in the seeds that both have" in better


def test_filters_take_whole_words_and_values_and_keep_the_charts(open_report, tmp_path):
    page = open_report(write_grid(tmp_path / "s", {("w1", 1): [90.0, 91.0], ("w10", 1e-05): [80.0, 81.0]}))

    def shown(words: str) -> tuple[str, int]:
        page.fill("#filter", words)
        return page.inner_text("#shown"), painted(page, "chart")

    both, one = "2 of 2 points, 4 of 4 jobs", "1 of 2 points, 2 of 4 jobs"
    assert shown("seed=1") == ("2 of 2 points, 2 of 4 jobs", 2)
    assert shown("optimizer.lr=0.00001") == (one, 1)
    assert column(page, "points", "warmup") == ["w10"]
    assert shown("lr=1") == (one, 1)
    assert column(page, "points", "warmup") == ["w1"]
    assert shown("w1") == (one, 1)
    assert shown("-w1") == (one, 1)
    assert shown("w") == ("0 of 2 points, 0 of 4 jobs", 0)
    assert shown("done") == (both, 2)
    (tmp_path / "s" / "0").rename(tmp_path / "s" / "warmup=w1,seed=0")
    page = open_report(tmp_path / "s")
    assert shown("warmup=w1,seed=0") == ("1 of 2 points, 1 of 4 jobs", 1)


def test_what_diverged_is_counted_and_not_drawn_by_itself(open_report, tmp_path):
    for number, lr in enumerate([1, 1, 2, 2, 3]):
        scores, status = ([1e9], "diverged") if number > 2 else ([90.0 + number], "completed")
        write_job(tmp_path / "s" / str(number), {"optimizer.lr": lr}, scores, seed=number % 2, status=status)
    page = open_report(tmp_path / "s")
    assert [box.is_checked() for box in page.locator("#points input").all()] == [True, False, False]
    page.click("#all")
    page.click("#few")
    assert painted(page, "chart") == 1
    table = page.locator("#matters table")
    assert [row.split() for row in table.inner_text().splitlines()][1:] == [
        ["2", "1", "1", "92.00", "reference"],
        ["1", "2", "90.50", "−2.00"],
        ["3", "0", "1", "–"],
    ]


def test_a_long_name_does_not_scroll_a_narrow_page(open_report, tmp_path):
    page = open_report(write_grid(tmp_path / ("x" * 100), {("linear", 1): [90.0], ("exp", 1): [80.0]}))
    page.set_viewport_size({"width": 600, "height": 800})
    page.reload()
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
