#!/usr/bin/env bash
# Packs both packages, installs them in an empty folder, and runs the installed command there.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$root"
npm pack --silent --pack-destination "$work" >/dev/null
npm pack --silent --pack-destination "$work" --workspace guest >/dev/null
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund ./*.tgz
npx testudo --version
printf 'uname -m\nexit\n' | timeout 120 npx testudo run | grep -q x86_64
echo "the installed package boots its guest"
