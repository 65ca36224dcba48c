"""Chromium without a window, driven over WebDriver (https://www.w3.org/TR/webdriver2/)."""

import base64
import json
import re
import subprocess
import urllib.error
import urllib.request

import waiting

HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1000",
]
# The key by which WebDriver marks a reference to an element.
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
# What WebDriver says of elements of a page that is still building itself.
UNSETTLED = {
    "element click intercepted",
    "element not interactable",
    "move target out of bounds",
    "stale element reference",
}
SHIFT, ENTER, RELEASE = "\ue008", "\ue007", "\ue000"


class Browser:
    """A browser with a fresh profile in `directory`, open until the test is over."""

    def __init__(self, test, directory):
        log = open(directory / "chromedriver.log", "w+")
        test.addCleanup(log.close)
        driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=log, stderr=log)
        test.addCleanup(driver.wait)
        test.addCleanup(driver.kill)

        def said():
            log.seek(0)
            return log.read()

        def port():
            if driver.poll() is not None:
                raise AssertionError(f"chromedriver ended:\n{said()}")
            return re.search(r"started successfully on port (\d+)", said())

        started = waiting.until(port, "chromedriver listens", explain=said)
        self.session = f"http://127.0.0.1:{started[1]}/session"
        chromium = {
            "binary": "/usr/bin/chromium",
            "args": [*FLAGS, f"--user-data-dir={directory / 'profile'}"],
        }
        wanted = {"alwaysMatch": {"goog:chromeOptions": chromium}}
        self.session += "/" + self.post("", capabilities=wanted)["sessionId"]
        test.addCleanup(self.request, "DELETE", "")

    def request(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.session + path, data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with HTTP.open(request, timeout=waiting.PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            with error:
                value = json.load(error)["value"]
            raise BrowserError(value["error"], value["message"]) from None

    def post(self, path, **body):
        return self.request("POST", path, body)

    def open(self, url):
        self.post("/url", url=url)

    def script(self, text, *arguments):
        """Runs JavaScript in the page; gives what it returns."""
        return self.post("/execute/sync", script=text, args=arguments)

    def wait_for(self, selector):
        """Waits for a visible element; gives a reference to it."""
        visible = "const e = document.querySelector(arguments[0]); return e?.checkVisibility() ? e : null"
        return waiting.until(
            lambda: self.script(visible, selector),
            f"{selector} is on the page",
            explain=lambda: self.script("return document.body.innerText"),
        )

    def click(self, selector):
        """Clicks on an element, once it can be clicked on."""

        def clicked():
            element = self.wait_for(selector)
            try:
                self.post(f"/element/{element[ELEMENT]}/click")
            except BrowserError as error:
                if error.kind in UNSETTLED:
                    return False
                raise
            return True

        waiting.until(clicked, f"{selector} can be clicked on")

    def type(self, selector, text):
        """Types into an element."""
        self.post(f"/element/{self.wait_for(selector)[ELEMENT]}/value", text=text)

    def screenshot(self):
        """The page as a PNG."""
        return base64.b64decode(self.request("GET", "/screenshot"))


class BrowserError(AssertionError):
    """What WebDriver answers instead of a value."""

    def __init__(self, kind, message):
        super().__init__(f"{kind}: {message}")
        self.kind = kind
