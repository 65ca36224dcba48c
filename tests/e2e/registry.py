"""A registry on loopback, for what is pushed."""

import shutil
import socket
import subprocess
import urllib.error
import urllib.request

import harness
import waiting

HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))
SETTINGS = """
version: 0.1
storage:
  filesystem:
    rootdirectory: {place}/data
http:
  addr: 127.0.0.1:{port}
"""


class Registry:
    """Debian's docker-registry, until the test is over."""

    def __init__(self, test):
        place = harness.scratch("registry")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        settings, self.log = place / "settings.yml", place / "log"
        settings.write_text(SETTINGS.format(place=place, port=port))
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(["docker-registry", "serve", settings], stdout=log, stderr=log)
        test.addCleanup(shutil.rmtree, place)
        test.addCleanup(self.process.wait)
        test.addCleanup(self.process.kill)
        waiting.until(self.answers, "the registry answers", explain=self.log.read_text)

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the registry ended:\n{self.log.read_text()}")
        try:
            with HTTP.open(f"http://{self.address}/v2/", timeout=10) as answer:
                return answer.status == 200
        except urllib.error.URLError:
            return False
