#!/bin/sh
# Renews what lies in this folder: sh renew.sh [VERSION [VERSION]], of the runtime and of the reader
# of GeoTIFFs. Needs npm, pip and their registries.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
version=${1:-$(npm view onnxruntime-web version)}
geotiff=${2:-$(npm view geotiff version)}
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

# The reader comes as one classic script; what it contains has licences of its own.
npm install --silent --no-audit --no-fund --ignore-scripts "geotiff@$geotiff"
sed '/^\/\/# sourceMappingURL/d' node_modules/geotiff/dist-browser/geotiff.js > "$here/geotiff.js"
for name in geotiff @petamoriken/float16 lerc pako parse-headers quick-lru web-worker xml-utils \
  zstddec; do
  echo "=== $name $(node -p "require('./node_modules/$name/package.json').version")"
  cat node_modules/$name/[Ll][Ii][Cc][Ee][Nn][Ss][Ee]* 2>/dev/null \
    || node -p "'Licence: ' + require('./node_modules/$name/package.json').license"
  echo
done > "$here/geotiff-LICENSES.txt"

cd "$here"
{
  echo "onnxruntime-web $version, https://github.com/microsoft/onnxruntime, MIT (LICENSE)"
  echo "npm integrity $(npm view "onnxruntime-web@$version" dist.integrity)"
  echo "ort.js made of dist/ort.wasm.bundle.min.mjs by esbuild $esbuild"
  echo "ort.wasm.gz made of dist/ort-wasm-simd-threaded.wasm by gzip"
  sha256sum ort.js ort.wasm.gz
  echo "geotiff $geotiff, https://github.com/geotiffjs/geotiff.js, MIT (geotiff-LICENSES.txt)"
  echo "npm integrity $(npm view "geotiff@$geotiff" dist.integrity)"
  sha256sum geotiff.js
  echo "$(gzip -dc ort.wasm.gz | sha256sum | cut -d' ' -f1)  ort.wasm"
} > VERSION
cat VERSION
