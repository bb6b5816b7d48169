#!/bin/bash
# batchgenerators 0.25.5, through unittest2 1.1.0.
# batchgenerators needs unittest2, and that needs the package argparse 1.4.0 of 2015. In a normal installation Python's
# own argparse comes first; with `pip install --target DIR` and PYTHONPATH=DIR the old one does, for every program.
# seen: argparse.__version__ is 1.4.0 there, and add_subparsers(required=True) is a TypeError.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-deps --target "$folder/target" batchgenerators==0.25.5
needed=$(grep -E '^Requires-Dist: unittest2' "$folder"/target/batchgenerators-*.dist-info/METADATA)
echo "batchgenerators: $needed"
"$folder/venv/bin/pip" install -q --target "$folder/target" unittest2==1.1.0
cd "$folder"
PYTHONPATH="$folder/target" venv/bin/python - <<'PY'
import argparse
import sys

print("argparse", argparse.__version__, "from", argparse.__file__)
try:
    argparse.ArgumentParser().add_subparsers(required=True)
except TypeError as error:
    print("TypeError:", error)
    sys.exit(argparse.__version__ != "1.4.0")
sys.exit(1)
PY
