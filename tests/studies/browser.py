"""Pages as headless Chromium has them, asked with a script that writes what it finds."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for path in map(shutil.which, _NAMES) if path), None)

# What any page may do that none of ours does, from its first line on.
_WATCH = """
const seen = { alerts: [], blocked: [], errors: [] };
window.alert = (text) => seen.alerts.push(String(text));
addEventListener("securitypolicyviolation", (event) => seen.blocked.push(event.blockedURI));
addEventListener("error", (event) => seen.errors.push(event.message));
"""
_ASK = """
addEventListener("load", () => setTimeout(() => {
  try {
    seen.answer = (() => { %s })();
  } catch (error) {
    seen.errors.push(String(error));
  }
  seen.fetched = performance.getEntriesByType("resource").map((entry) => entry.name);
  seen.width = innerWidth;
  seen.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  parent.postMessage(JSON.stringify(seen), "*");
}, 100));
"""
# A window is never narrower than 500 pixels, a frame is as wide as it is told.
_FRAME = """<meta name="color-scheme" content="light dark"><pre id="answer"></pre><script>
addEventListener("message", (event) => {
  document.getElementById("answer").textContent = event.data;
});
</script><iframe src="%s" width="%d" height="1000" style="border: 0"></iframe>"""


def asked(page: Path, script: str, folder: Path, width: int = 1200, dark: bool = False) -> Any:
    """What ``script``, the body of a function, returns on a copy of a page in ``folder``.

    Beside that, as ``seen``: alerts, what the page's policy blocked, errors, what was fetched, the
    width, and by how much the page is wider. The copy's policy lets these scripts run too.
    """
    scripts = [_WATCH, _ASK % script]
    text = page.read_text(encoding="utf-8")
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'"
        for one in scripts
    )
    text = text.replace("script-src ", f"script-src {hashes} ", 1)
    added = "".join(f"<script>{one}</script>" for one in scripts)
    text = text.replace('<meta name="viewport"', f'{added}<meta name="viewport"', 1)
    copy = folder / f"asked-{width}-{page.name}"
    copy.write_text(text, encoding="utf-8")
    frame = folder / f"frame-{width}-{page.name}"
    frame.write_text(_FRAME % (copy.as_uri(), width), encoding="utf-8")
    words = [
        *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        f"--user-data-dir={folder / 'profile'}",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        f"--window-size={width + 100},1200",
        *("--virtual-time-budget=4000", "--dump-dom", frame.as_uri()),
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    found = re.search(r'<pre id="answer">(.+?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    return json.loads(unescape(found[1]))
