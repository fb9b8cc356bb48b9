"""What a frame of a network's page costs while one draws on it, in a headless Chromium.

    python benchmarks/page.py                                    # 784-50-30-10 and 784-512-256-10
    python benchmarks/page.py --sizes 784,1024,10 --frames 600

A script in the page moves the pen along a figure, one move a frame, as a mouse does: the stroke is drawn, the drawing
prepared, the network computed and every layer painted. Measured is the time of the main thread from the move until the
browser has laid out and painted what came of it; at 60 frames a second there are 16.7 ms for it. The first frames of
each round, in which the browser compiles the script, are left out. The weights are random, which costs as much as any.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading

import numpy as np

import gpunet as gn
from gpunet.pictures.page import page

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
NETWORKS = ("784,50,30,10", "784,512,256,10")
#: Frames at the beginning of a round that are not counted.
WARM = 30
#: Moves the pen, one move a frame, and tells the times in milliseconds.
HOOK = """
addEventListener('load', async () => {
  const box = easel.getBoundingClientRect(), times = [];
  const move = (kind, turn) => easel.dispatchEvent(new PointerEvent(kind, {
    clientX: box.left + box.width * (0.5 + 0.3 * Math.sin(turn / 9)), button: 0, pointerId: 1, bubbles: true,
    clientY: box.top + box.height * (0.5 + 0.35 * Math.sin(turn / 13)) }));
  for (let frame = 0; frame < FRAMES; frame += 1) {
    if (frame % 60 === 0) clear(); // a figure as large as a digit, and not a black square
    let began;
    const painted = new Promise((done) => requestAnimationFrame(() => {
      began = performance.now(); // the page's own work of this frame comes next
      const channel = new MessageChannel(); // and what is sent now arrives when all of it is painted
      channel.port1.onmessage = done;
      channel.port2.postMessage(0);
    }));
    const moved = performance.now();
    move(frame % 60 === 0 ? 'pointerdown' : 'pointermove', frame);
    const stroke = performance.now() - moved;
    await painted;
    times.push(stroke + performance.now() - began);
  }
  fetch('/', { method: 'POST', body: JSON.stringify(times) });
});
"""


def main() -> int:
    """Measure, and print a line for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", action="append", help="widths of a network of digits; may be given several times")
    parser.add_argument("--frames", type=int, default=300, help="frames of a round (default: 300)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, each in a browser of its own (default: 3)")
    options = parser.parse_args()
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        print(f"no browser is installed; one of {', '.join(BROWSERS)} is needed.", file=sys.stderr)
        return 1
    data = gn.load_dataset("mnist-5k")
    print(f"milliseconds a frame; load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'network':20}{'round':>6}{'median':>9}{'95 %':>9}{'99 %':>9}{'longest':>9}{'over 16':>9}")
    for text in options.sizes or NETWORKS:
        sizes = [int(size) for size in text.split(",")]
        drawn = page(gn.MLP(sizes, preparation=data.preparation), data)
        for turn in range(1, options.rounds + 1):
            times = np.array(measured(browser, drawn, options.frames + WARM)[WARM:])
            shares = "".join(f"{np.quantile(times, share):9.1f}" for share in (0.5, 0.95, 0.99, 1))
            print(f"{'-'.join(map(str, sizes)):20}{turn:6}{shares}{(times > 16).sum():9}", flush=True)
    return 0


def measured(browser: str, text: str, frames: int) -> list[float]:
    """The milliseconds of each frame while a script draws on the page."""
    before, _, after = text.rpartition("</body>")
    served = f"{before}<script>{HOOK.replace('FRAMES', str(frames))}</script></body>{after}".encode()
    told: queue.Queue[list[float]] = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        """Gives the page, and takes what it found."""

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(served)

        def do_POST(self) -> None:
            told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *message: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, tempfile.TemporaryDirectory() as folder:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={folder}",
            "--window-size=1280,1000", "--remote-debugging-port=0", f"http://127.0.0.1:{server.server_address[1]}/",
        ]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return told.get(timeout=120 + frames)
        finally:
            process.terminate()
            process.wait(30)
            server.shutdown()


if __name__ == "__main__":
    sys.exit(main())
