"""``python -m fgcam_onnx``."""

from .cli import main

if __name__ == "__main__":
    main()
