"""Where the checkout and the sandbox keep their files."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STATE = Path("/var/lib/iot-receiver-sandbox")  # of the running sandbox
CACHE = Path("/var/cache/iot-receiver-sandbox")  # outlives it: programs, charts, downloads
PROGRAMS = CACHE / "bin/current"
