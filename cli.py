"""Run the command line from a checkout: ``python cli.py explain …``."""

from fgcam_onnx.cli import main

if __name__ == "__main__":
    main()
