"""The page in a real browser: headless Chromium beside a running plaza.

One browser and one run for all of them; each test leaves the page as the next one may find it.
"""

from __future__ import annotations

import importlib.util
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("selenium", reason="selenium is not installed: pip install 'callm-edge[dev]'")

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys as Key
from selenium.webdriver.support.wait import WebDriverWait

from callm_edge.cascade import Camera
from callm_edge.errors import UserError
from callm_edge.events.store import EventStore
from callm_edge.serving.auth import Keys
from callm_edge.sinks.sink import Sink
from callm_edge.sources import Frame
from callm_edge.sources.plaza import PlazaSource
from callm_edge.stage2.asking import Asker
from callm_edge.watch import Watch
from callm_edge.web.listening import Listening
from callm_edge.web.live import Live
from callm_edge.web.server import WebServer

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="Chromium is not installed: apt-get install chromium chromium-driver",
)

PATIENCE_S = 90.0  # the machine may be busy with other things; only a failure takes so long
NAME = "<script>window.injected = 1</script><img src=x onerror='window.injected = 2'>"
TOKEN = "0123456789abcdef-token"


class Steps:
    """Lets the branch say one piece for each `go`."""

    def __init__(self) -> None:
        self._pieces = threading.Semaphore(0)

    def go(self, pieces: int = 1) -> None:
        self._pieces.release(pieces)

    def wait(self) -> None:
        self._pieces.acquire(timeout=PATIENCE_S)


class Plaza(PlazaSource):
    """Waits for its reader, so that a busy machine loses no frame, and is no faster than a slow camera."""

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            time.sleep(0.05)
            yield frame


class Site(SimpleNamespace):
    """stage1, steps: what the camera and the branch do next. store, port, watch: of the run."""

    def serve(self) -> None:
        listening = Listening(port=self.port)
        self.server = WebServer(self.live, self.store, Asker(lambda bundle: lambda: self.staged.Talker()), listening)
        self.server.start()
        self.port = int(self.server.url.rpartition(":")[2])

    def break_off(self) -> None:
        """Stop without a word to those who follow, as a machine does whose power fails."""
        self.server._server.force_exit = self.server._server.should_exit = True
        self.server._thread.join(20)
        for connection in list(self.server._server.server_state.connections):
            connection.transport.abort()


@pytest.fixture(scope="module")
def staged() -> ModuleType:
    spec = importlib.util.spec_from_file_location("staged", Path(__file__).with_name("conftest.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["staged"] = module  # where dataclasses look for their annotations
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(staged: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A plaza that plays like a camera, two cameras in all, with a stage 1 and a branch that tests control."""
    steps, stage1 = Steps(), staged.Stage1()
    sources = [Plaza(seed=seed, seconds=3600, name=name) for seed, name in ((7, NAME), (8, "yard"))]
    cameras = [
        Camera(source, backend, staged.DECISION, bundle="plaza")
        for source, backend in zip(sources, (stage1, staged.Stage1()), strict=True)
    ]
    with EventStore(tmp_path_factory.mktemp("store")) as store:
        live = Live(cameras, lambda: len(store.waiting()))
        made = Site(staged=staged, stage1=stage1, steps=steps, store=store, live=live, port=0, cameras=cameras)
        made.serve()
        watch = Watch(cameras, store, open_branch=lambda: staged.Talker(steps.wait), viewer=live)
        report: Sink = live
        run = threading.Thread(target=watch.run, args=(report,), daemon=True)
        run.start()
        yield made
        for source in sources:
            source.close()
        steps.go(100)
        run.join(20)
        made.server.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,900"),
        # Nothing of it is needed, and all of it would look for a network.
        *("--disable-background-networking", "--disable-component-update", "--no-first-run", "--disable-sync"),
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options, webdriver.ChromeService(str(DRIVER)))
    opened.set_page_load_timeout(PATIENCE_S)
    opened.set_script_timeout(PATIENCE_S)
    yield opened
    opened.quit()


class Page:
    """The page in the browser, with words for what tests do to it."""

    def __init__(self, browser: webdriver.Chrome) -> None:
        self.browser = browser

    def one(self, selector: str) -> Any:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return str(self.js("return document.querySelector(arguments[0])?.textContent ?? ''", selector))

    def js(self, script: str, *values: object) -> Any:
        return self.browser.execute_script(script, *values)

    def until(self, condition: Callable[[], object], what: str) -> Any:
        """What `condition` gives once it is true; rows may be drawn anew while one looks at them."""
        from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException

        ignored = (NoSuchElementException, StaleElementReferenceException)
        waiting = WebDriverWait(self.browser, PATIENCE_S, 0.1, ignored_exceptions=ignored)
        return waiting.until(lambda _: condition(), f"waited for: {what}")

    def complaints(self) -> list[str]:
        """What the browser's console holds of errors, those of the policy included, since the last time."""
        return [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]

    def emulate(self, command: str, **settings: object) -> None:
        self.browser.execute_cdp_cmd(f"Emulation.{command}", settings)


@pytest.fixture(scope="module")
def page(browser: webdriver.Chrome, site: Site) -> Page:
    """Loaded, with the first picture drawn."""
    browser.get(site.server.url)
    opened = Page(browser)
    opened.until(lambda: opened.one("[data-camera='0'][data-drawn]"), "the first picture")
    return opened


def heat_opacity(page: Page) -> float:
    return float(page.js("return getComputedStyle(document.querySelector('[data-camera=\"0\"] .heat')).opacity"))


def painted(page: Page, selector: str) -> int:
    """How many pixels of a canvas are neither clear nor black."""
    script = """
        const canvas = document.querySelector(arguments[0]);
        const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        let count = 0;
        for (let at = 0; at < data.length; at += 4) {
          count += data[at + 3] > 0 && data[at] + data[at + 1] + data[at + 2] > 30;
        }
        return count;"""
    return int(page.js(script, selector))


def alarming(page: Page) -> bool:
    """Whether the clip's picture has a line in the very colour of alarms."""
    script = """
        const paint = document.createElement('canvas').getContext('2d');
        paint.fillStyle = getComputedStyle(document.documentElement).getPropertyValue('--alarm').trim();
        paint.fillRect(0, 0, 1, 1);
        const [red, green, blue] = paint.getImageData(0, 0, 1, 1).data;
        const canvas = document.querySelector('[data-screen]');
        const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        let count = 0;
        for (let at = 0; at < data.length; at += 4) {
          count += data[at] === red && data[at + 1] === green && data[at + 2] === blue;
        }
        return count;"""
    return int(page.js(script)) > 100


def test_the_page_shows_a_running_plaza(page: Page) -> None:
    frame = "[data-camera='0'] canvas.picture"
    first = int(page.one(frame).get_attribute("data-frame"))
    page.until(lambda: int(page.one(frame).get_attribute("data-frame")) > first + 2, "the picture to move")
    assert painted(page, frame) > 10_000
    page.until(lambda: painted(page, "[data-camera='0'] .plot canvas") > 200, "the score trace")
    page.until(lambda: page.text("[data-camera='0'] .badge[data-state]") == "live", "the camera's state")
    page.until(lambda: page.text("[data-status]").startswith("2 of 2 live"), "the state of all cameras")
    page.until(lambda: len(page.browser.find_elements(By.CSS_SELECTOR, "[data-counts] tbody tr")) == 2, "the counts")
    assert page.one("#banner").is_displayed() is False


def test_a_script_in_a_cameras_name_stays_text(page: Page) -> None:
    assert page.text("[data-camera='0'] [data-name]") == NAME
    assert page.js("return [...document.images].every((image) => image.src.startsWith(location.origin))")
    assert page.js("return document.scripts.length") == 3
    assert page.js("return window.injected === undefined")


def test_the_error_map_is_switched_and_faded(page: Page) -> None:
    box, slider = page.one("[data-camera='0'] .overlay-on"), page.one("[data-camera='0'] .overlay")
    assert heat_opacity(page) > 0.5
    page.until(lambda: painted(page, "[data-camera='0'] canvas.heat") > 20, "an error map")
    box.click()
    assert heat_opacity(page) == 0
    slider.send_keys(Key.HOME)
    slider.send_keys(Key.ARROW_RIGHT * 35)
    assert heat_opacity(page) == pytest.approx(0.35)
    assert box.is_selected(), "who moves the slider wants to see it"
    assert slider.get_attribute("aria-valuetext") == "35 %"


def test_an_event_appears_and_its_explanation_comes_word_by_word(page: Page, site: Site) -> None:
    site.stage1.level_db = 12.0
    page.until(lambda: page.one("[data-camera='0'] .badge.alarm").is_displayed(), "the alarm at the camera")
    time.sleep(0.5)
    site.stage1.level_db = 30.0
    row = page.until(lambda: page.one("#event-list [data-event]"), "the event in the list").get_attribute("data-event")
    assert row in {stored.event.id for stored in site.store.list()}
    because = f"[data-event='{row}'] [data-because]"
    page.until(lambda: page.one(f"[data-event='{row}'] img").get_property("naturalWidth") > 0, "its thumbnail")
    site.steps.go(2)
    page.until(lambda: "A cyclist" in page.text(because), "the first words")
    assert "plaza." not in page.text(because)
    site.steps.go(100)
    page.until(lambda: page.text(because) == site.staged.EXPLANATION, "the explanation")
    page.until(lambda: page.text(f"[data-event='{row}'] .tag") == "abnormal 97 %", "the verdict")
    page.until(lambda: "A cyclist" in page.text("#announcer[aria-live]"), "the word for who cannot see the list")
    assert page.js("return window.injected === undefined")


def test_a_piece_that_comes_late_does_not_lengthen_a_whole_explanation(page: Page, site: Site) -> None:
    """The list may be asked for between the verdict and the last pieces that the stream brings."""
    because = "#event-list [data-event] [data-because]"
    row = page.one("#event-list [data-event]").get_attribute("data-event")
    site.live.say(row, "plaza. ")
    site.live.failed("the test", UserError("It looks now"))  # behind the piece in the same stream
    page.until(lambda: "It looks now" in page.text("[data-banner]"), "the stream to have come so far")
    assert page.text(because) == site.staged.EXPLANATION
    page.one("[data-dismiss]").click()


def test_an_old_answer_does_not_undo_a_newer_one(page: Page, site: Site) -> None:
    row = page.one("#event-list [data-event]").get_attribute("data-event")
    dismissed = f"[data-event='{row}'].dismissed"
    page.js(
        """const plain = window.fetch;
        window.fetch = async (...what) => {
          const answer = await plain(...what);
          if (window.release || !String(what[0]).startsWith('/api/events?')) return answer;
          await new Promise((done) => { window.release = done; });
          return answer;
        };
        document.querySelector('#source').dispatchEvent(new Event('change'));"""
    )
    page.until(lambda: page.js("return Boolean(window.release)"), "the answer that is held up")
    site.store.mark_false_alarm(row, True)
    time.sleep(2)  # the stream says within one that the store has changed
    page.js("window.release()")
    time.sleep(0.5)
    page.until(lambda: page.browser.find_elements(By.CSS_SELECTOR, dismissed), "the mark of after the answer")
    site.store.mark_false_alarm(row, False)
    page.until(lambda: not page.browser.find_elements(By.CSS_SELECTOR, dismissed), "the mark to go")


@pytest.fixture
def detail(page: Page) -> Iterator[Page]:
    """The first event, opened and closed with the keyboard."""
    row = page.until(lambda: page.one("#event-list [data-event]"), "an event")
    name = row.get_attribute("data-event")
    page.js("arguments[0].focus()", row)
    row.send_keys(Key.ENTER)
    page.until(lambda: page.one("#detail").get_attribute("open"), "the event's dialog")
    yield page
    page.browser.switch_to.active_element.send_keys(Key.ESCAPE)
    page.until(lambda: not page.one("#detail").get_attribute("open"), "the dialog to close")
    page.until(lambda: page.js("return document.activeElement.dataset.event") == name, "the focus to come back")


def test_an_event_is_told_whole(detail: Page, site: Site) -> None:
    assert detail.text("#detail-title") == NAME
    assert detail.text("[data-verdict]").startswith("Yes, with a probability of 97.0 %")
    assert detail.text("[data-explanation]") == site.staged.EXPLANATION
    steps = detail.browser.find_elements(By.CSS_SELECTOR, "[data-ledger] .step")
    assert 5 <= len(steps) <= 6, "the branch's five, and the time in the queue"
    widths = {step.get_attribute("title").split(":")[0]: step.rect["width"] for step in steps}
    assert widths["explanation"] > widths["prefill"] > widths["pictures"]
    assert detail.js("return window.injected === undefined")


def test_a_clip_plays(detail: Page) -> None:
    shown = detail.until(lambda: detail.one("[data-screen]").get_attribute("data-frame"), "a frame of the clip")
    assert painted(detail, "[data-screen]") > 10_000
    assert alarming(detail), "the event's box, as the clip opens at its peak"
    detail.one("[data-seek]").send_keys(Key.HOME)
    first = detail.until(
        lambda: (at := detail.one("[data-screen]").get_attribute("data-frame")) != shown and at, "the beginning"
    )
    assert not alarming(detail), "nothing was wrong yet"
    detail.one("[data-play]").click()
    detail.until(lambda: int(detail.one("[data-screen]").get_attribute("data-frame")) > int(first) + 3, "it to play")
    detail.one("[data-play]").click()


def test_a_question_is_answered(detail: Page) -> None:
    detail.one("#question").send_keys("What is <b>that</b>?" + Key.ENTER)
    detail.until(lambda: "I see a bicycle." in detail.text("[data-answer]"), "the answer")
    assert detail.text("[data-answer]").startswith("You asked: What is <b>that</b>? On ")
    assert not detail.browser.find_elements(By.CSS_SELECTOR, "[data-answer] b")


def test_a_false_alarm_is_marked_and_taken_back(detail: Page, site: Site) -> None:
    button = detail.one("[data-false-alarm]")
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    detail.until(lambda: button.get_attribute("aria-pressed") == "true", "the button to stay down")
    assert len(site.store.false_alarms()) == 1
    detail.until(lambda: detail.text("#event-list .tag") == "false alarm", "the mark in the list")
    button.click()
    detail.until(lambda: button.get_attribute("aria-pressed") == "false", "the button to come up")
    assert site.store.false_alarms() == []


def test_everything_has_a_name_and_shows_where_the_keyboard_is(page: Page) -> None:
    nameless = page.js(
        """return [...document.querySelectorAll('button, input, select, [role="img"]')].filter((one) =>
             one.checkVisibility() && !(one.textContent.trim() || one.getAttribute('aria-label') || one.labels?.length
           )).map((one) => one.outerHTML)"""
    )
    assert nameless == []
    page.js("document.querySelector('.skip').focus()")
    visited = []
    for _ in range(5):
        ActionChains(page.browser).send_keys(Key.TAB).perform()
        style = page.js(
            "const style = getComputedStyle(document.activeElement); "
            "return [document.activeElement.outerHTML, style.outlineStyle, parseFloat(style.outlineWidth)]"
        )
        visited.append(style[0])
        assert (style[1], style[2] >= 2) == ("solid", True), style
    assert len(set(visited)) == 5


def test_a_phone_needs_no_sideways_scrolling(page: Page) -> None:
    page.emulate("setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=2, mobile=True)
    try:
        page.until(lambda: page.js("return innerWidth") == 390, "the width of a phone")
        assert page.js("return document.documentElement.scrollWidth") <= 390
        # Fingers need room: 24 CSS pixels are the least that WCAG 2.2 (2.5.8) allows.
        small = page.js(
            """return [...document.querySelectorAll('button, select, input[type="range"]')].filter((one) => {
                 const { width, height } = one.getBoundingClientRect();
                 return width && (width < 24 || height < 24); }).map((one) => one.outerHTML)"""
        )
        assert small == []
        page.js("document.querySelector('#event-list [data-event]').click()")
        page.until(lambda: page.one("#detail").get_attribute("open"), "the dialog")
        assert page.js("const it = document.querySelector('#detail'); return it.scrollWidth <= it.clientWidth")
        page.js("document.querySelector('#detail').close()")
    finally:
        page.emulate("clearDeviceMetricsOverride")


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2 of '#rrggbb'."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_both_themes_follow_the_system_and_can_be_read(page: Page, scheme: str) -> None:
    page.emulate("setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    names = ("--text", "--muted", "--card", "--ground", "--alarm", "--alarm-soft", "--good", "--good-soft")
    value = "return getComputedStyle(document.documentElement).getPropertyValue(arguments[0]).trim()"
    colours = {name: page.js(value, name) for name in names}
    assert (luminance(colours["--card"]) > 0.5) == (scheme == "light")
    pairs: Sequence[tuple[str, str]] = (
        *(("--text", "--card"), ("--text", "--ground"), ("--muted", "--card"), ("--muted", "--ground")),
        *(("--alarm", "--alarm-soft"), ("--good", "--good-soft"), ("--alarm", "--card")),
    )
    ratios = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in pairs}
    assert min(ratios.values()) >= 4.5, ratios  # WCAG 2.2, 1.4.3
    page.emulate("setEmulatedMedia", features=[])


def test_the_theme_can_be_chosen_and_is_kept(page: Page) -> None:
    def ground() -> str:
        return str(page.js("return getComputedStyle(document.body).backgroundColor"))

    button = page.one("#theme")
    seen = {}
    for _ in range(3):
        button.click()
        seen[button.text] = ground()
    assert set(seen) == {"Theme: dark", "Theme: light", "Theme: system"}
    assert seen["Theme: dark"] != seen["Theme: light"]
    button.click()
    page.browser.refresh()
    page.until(lambda: page.text("#theme") == "Theme: dark", "the choice of before")
    assert ground() == seen["Theme: dark"]
    page.until(lambda: page.one("[data-camera='0'][data-drawn]"), "the page to be back")
    for _ in range(2):
        page.one("#theme").click()


def test_the_browser_had_nothing_to_complain_about(page: Page) -> None:
    """Neither errors of the script nor breaches of the policy, in all that was done so far."""
    assert page.complaints() == []


def test_a_lost_connection_is_said_and_mends_itself(page: Page, site: Site) -> None:
    site.break_off()
    page.until(lambda: "Connection lost" in page.text("#banner"), "the banner")
    assert page.one("#banner").is_displayed()
    assert page.text("[data-status]") == "Not connected"
    site.serve()
    page.until(lambda: not page.one("#banner").is_displayed(), "the connection to come back")
    frame = "[data-camera='0'] canvas.picture"
    before = int(page.one(frame).get_attribute("data-frame"))
    page.until(lambda: int(page.one(frame).get_attribute("data-frame")) > before, "the picture to go on")


def test_a_token_opens_the_page(browser: webdriver.Chrome, site: Site) -> None:
    """Bound wider than this machine, over a stored database."""
    listening = Listening(host="0.0.0.0", port=0, keys=Keys([TOKEN]))
    server = WebServer(Live(), site.store, Asker(lambda bundle: lambda: site.staged.Talker()), listening)
    server.start()
    try:
        browser.get(server.url.replace("0.0.0.0", socket.gethostbyname("localhost")))
        page = Page(browser)
        page.until(lambda: page.one("#login").is_displayed(), "the form")
        assert not page.one("#page").is_displayed()
        page.one("#token").send_keys("wrong" + Key.ENTER)
        page.until(lambda: page.text("[data-login-error]"), "the refusal")
        page.one("#token").clear()
        page.one("#token").send_keys(TOKEN + Key.ENTER)
        page.until(lambda: page.one("#event-list [data-event]"), "the stored event")
        assert page.js("return document.cookie") == "", "scripts do not see the session"
        page.one("#logout").click()
        page.until(lambda: page.one("#login").is_displayed(), "the form again")
    finally:
        server.close()
