#!/bin/sh
# Renews the runtime in this folder: sh renew.sh [VERSION]. Needs npm, pip and their registries.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
version=${1:-$(npm view onnxruntime-web version)}
esbuild=0.28.2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm install --silent --no-audit --no-fund --ignore-scripts "onnxruntime-web@$version"
npm install --silent --no-audit --no-fund "esbuild@$esbuild"
dist=node_modules/onnxruntime-web/dist

# One classic script: a page that is read from disk may not import modules. The runtime asks where it
# lies only to fetch its WebAssembly from there, which it is handed instead.
npx esbuild "$dist/ort.wasm.bundle.min.mjs" --bundle --minify --format=iife --global-name=ort \
  --platform=browser --define:import.meta.url=self.location.href --legal-comments=inline \
  --log-level=warning --outfile="$here/ort.js"
gzip --best --no-name --stdout "$dist/ort-wasm-simd-threaded.wasm" > "$here/ort.wasm.gz"

# The npm package names its licence, the Python package of the same version carries it.
pip download --quiet --no-deps --only-binary :all: "onnxruntime==$version"
unzip -q -o -j onnxruntime-*.whl onnxruntime/LICENSE onnxruntime/ThirdPartyNotices.txt -d "$here"

cd "$here"
{
  echo "onnxruntime-web $version, https://github.com/microsoft/onnxruntime, MIT (LICENSE)"
  echo "npm integrity $(npm view "onnxruntime-web@$version" dist.integrity)"
  echo "ort.js made of dist/ort.wasm.bundle.min.mjs by esbuild $esbuild"
  echo "ort.wasm.gz made of dist/ort-wasm-simd-threaded.wasm by gzip"
  sha256sum ort.js ort.wasm.gz
  echo "$(gzip -dc ort.wasm.gz | sha256sum | cut -d' ' -f1)  ort.wasm"
} > VERSION
cat VERSION
