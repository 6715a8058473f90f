#!/usr/bin/env python3
"""Unpack the Milvus server that the Python wheel `milvus` carries.

    unpack_milvus.py WHEEL TARGET

makes TARGET/bin/milvus (executable), the libraries beside it, and
TARGET/milvus.yaml, the wheel's own configuration template with its defaults
filled in (shared/testkit overrides ports and folders). Nothing is installed
into any Python environment.

A second run with the same wheel does nothing. The work is done in a folder
beside TARGET that is renamed at the end, so TARGET is whole or absent.
"""

import lzma
import os
import re
import shutil
import sys
import tempfile
import zipfile

STAMP = "WHEEL"  # holds the wheel's name: says that TARGET is whole and of which version
DATA = "milvus/data/"


def done(target, wheel):
    try:
        with open(os.path.join(target, STAMP), encoding="utf-8") as f:
            return f.read().strip() == os.path.basename(wheel)
    except FileNotFoundError:
        return False


def fill(template):
    """Replace `{{ name(type): default }}` by the default, or by nothing."""
    return re.sub(r"\{\{\s*\w+(?:\(\w+\))?(?::\s*([^}]*?))?\s*\}\}", lambda m: m.group(1) or "", template)


def unpack(wheel, folder):
    os.mkdir(os.path.join(folder, "bin"))
    with zipfile.ZipFile(wheel) as z:
        for name in z.namelist():
            if not (name.startswith(DATA + "bin/") and name.endswith(".lzma")):
                continue
            out = os.path.join(folder, "bin", os.path.basename(name)[: -len(".lzma")])
            with z.open(name) as packed, lzma.open(packed) as src, open(out, "wb") as dst:
                shutil.copyfileobj(src, dst, 1 << 20)
            os.chmod(out, 0o755)
        template = z.read(DATA + "config.yaml.template").decode("utf-8")
        with open(os.path.join(folder, "milvus.yaml"), "w", encoding="utf-8") as f:
            f.write(fill(template))
        glog = z.read(DATA + "glog.conf")
        with open(os.path.join(folder, "glog.conf"), "wb") as f:
            f.write(glog)
    if not os.path.exists(os.path.join(folder, "bin", "milvus")):
        raise SystemExit(f"unpack_milvus: {wheel} holds no {DATA}bin/milvus.lzma; is it the wheel milvus 2.3.5?")
    with open(os.path.join(folder, STAMP), "w", encoding="utf-8") as f:
        f.write(os.path.basename(wheel) + "\n")


def main(argv):
    if len(argv) != 3:
        raise SystemExit(__doc__)
    wheel, target = argv[1], os.path.abspath(argv[2])
    if done(target, wheel):
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    folder = tempfile.mkdtemp(prefix=".milvus-", dir=os.path.dirname(target))
    try:
        unpack(wheel, folder)
        os.chmod(folder, 0o755)
        if os.path.exists(target):
            shutil.rmtree(target)
        os.rename(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv)
