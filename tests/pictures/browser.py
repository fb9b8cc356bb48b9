"""A headless Chromium that opens a page and gives back what a script in it found; no more than its command line."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str | None:
    """The browser's program, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def command(folder: Path, *options: str) -> list[str]:
    """A command line that sees no network and keeps what it keeps in `folder`."""
    return [
        str(chromium()), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--disable-sync", "--no-first-run", "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={folder / 'browser'}", *options,
    ]  # fmt: skip


def ask(page: str, script: str, folder: Path) -> Any:
    """What `script`, the body of an async function that runs when the page is there, returns, as JSON.

    In it, `await until(met)` waits until `met()` is true: frames are drawn and files read in real time, while the
    browser's timers run as fast as they can.
    """
    hook = """
    const until = async (met) => {
      for (let turn = 0; turn < 5000 && !met(); turn += 1) {
        for (let spin = 0; spin < 1e6; spin += 1) window.spun = Math.sqrt(spin);
        await new Promise((done) => setTimeout(done, 1));
      }
    };
    window.addEventListener('load', async () => {
      const told = document.createElement('pre');
      told.id = 'told-to-the-test';
      const ask = async () => {
        %s
      };
      try { told.textContent = JSON.stringify({ found: await ask() }); }
      catch (error) { told.textContent = JSON.stringify({ error: `${error}\\n${error.stack}` }); }
      document.body.append(told);
    });
    """
    before, _, after = page.rpartition("</body>")
    path = folder / "asked.html"
    path.write_text(f"{before}<script>{hook % script}</script></body>{after}", encoding="utf-8")
    options = ("--virtual-time-budget=20000", "--dump-dom", path.as_uri())
    done = subprocess.run(command(folder, *options), capture_output=True, text=True, timeout=600, encoding="utf-8")
    found = re.search(r'<pre id="told-to-the-test">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    told = json.loads(html.unescape(found.group(1)))
    assert "error" not in told, told["error"]
    return told["found"]
