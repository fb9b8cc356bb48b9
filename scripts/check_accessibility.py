"""Holds pages against the rules of axe-core (WCAG 2.2 A and AA, and its best practices), in a headless Chromium.

    python scripts/check_accessibility.py report.html page.html

Each page is looked at in the light and in the dark, wide and narrow. Every breach is one line; the exit code is 1 if
there is any. Needs Chromium (Debian's `chromium`, say) and npm, which fetches axe-core (MPL 2.0) into a folder that is
gone afterwards; AXE_CORE names an axe.min.js that is there already.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SCHEMES = {"light": "1", "dark": "0"}
WIDTHS = (1280, 500)

#: Runs the rules when the page is there, and leaves what they found as the text of an element.
HOOK = """
window.addEventListener('load', () => axe.run(document, {resultTypes: ['violations']}).then((found) => {
  const told = document.createElement('pre');
  told.id = 'axe-violations';
  told.textContent = JSON.stringify(found.violations.map((rule) => ({
    id: rule.id, impact: rule.impact, help: rule.help,
    nodes: rule.nodes.map((node) => node.html.slice(0, 120)),
  })));
  document.body.append(told);
}));
"""


def main(pages: list[str]) -> int:
    """Check the pages; 1 if there is a breach."""
    if not pages:
        print(__doc__)
        return 2
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        print(f"no browser is installed; one of {', '.join(BROWSERS)} is needed.")
        return 2
    breaches = 0
    with tempfile.TemporaryDirectory() as folder:
        axe = axe_source(Path(folder))
        for page in pages:
            for scheme, setting in SCHEMES.items():
                for width in WIDTHS:
                    for rule in violations(Path(page), axe, browser, Path(folder), setting, width):
                        breaches += 1
                        nodes = "; ".join(rule["nodes"][:3])
                        print(f"{page}, {scheme}, {width} px: {rule['impact']} {rule['id']}: {rule['help']}: {nodes}")
    print(f"{len(pages)} pages, {breaches or 'no'} breaches")
    return 1 if breaches else 0


def axe_source(folder: Path) -> str:
    """The text of axe.min.js."""
    given = os.environ.get("AXE_CORE")
    if given is None:
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), "axe-core@4"]
        subprocess.run(command, check=True)
        given = str(folder / "node_modules" / "axe-core" / "axe.min.js")
    return Path(given).read_text(encoding="utf-8")


def violations(page: Path, axe: str, browser: str, folder: Path, setting: str, width: int) -> list[dict[str, Any]]:
    """What axe-core has against a page."""
    text = page.read_text(encoding="utf-8")
    # What looks like the end of a script inside of it would be one.
    added = f"<script>{axe.replace('</script', '<' + chr(92) + '/script')}</script><script>{HOOK}</script></body>"
    copy = folder / page.name
    before, _, after = text.rpartition("</body>")
    copy.write_text(before + added + after, encoding="utf-8")
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={folder / 'user'}",
        f"--blink-settings=preferredColorScheme={setting}", f"--window-size={width},1200",
        "--virtual-time-budget=60000", "--timeout=120000", "--dump-dom", copy.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    found = re.search(r'<pre id="axe-violations">(.*?)</pre>', done.stdout, re.DOTALL)
    if found is None:
        raise SystemExit(f"{page}: the rules did not come to an end: {done.stderr[-500:]}")
    return json.loads(html.unescape(found.group(1)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
