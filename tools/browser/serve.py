"""Serve a page on this machine: ``python tools/browser/serve.py FOLDER [PORT]``; 0 takes any free port."""

from __future__ import annotations

import argparse
from pathlib import Path

from fgcam_onnx.page import serving


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", nargs="?", type=int, default=8000)
    given = parser.parse_args()
    with serving(given.folder, port=given.port) as server:
        print(f"http://localhost:{server.server_address[1]}/  (Ctrl+C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
