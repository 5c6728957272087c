# shellcheck shell=bash
# Installs the llama.cpp stand: a server made of node-llama-cpp's prebuilt
# library, at the versions and digests of scripts/llama/package-lock.json, and a
# small model of random weights. Needs say.sh and $root.

# shellcheck disable=SC2154 # root is the caller's

# have_llama says whether this machine can run the stand.
have_llama() {
  [[ $(uname -s)-$(uname -m) == Linux-x86_64 ]] && command -v npm >/dev/null && command -v node >/dev/null &&
    node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'
}

need_llama() {
  have_llama || die "the llama.cpp stand needs Linux on x86-64 with Node.js 20 or newer and npm, such as Debian's packages nodejs and npm"
}

# llama_stand prints the stand's folder in the user's cache, and makes it first
# where it is missing. What is in it decides its name, so that it is never stale.
llama_stand() {
  local source=$root/scripts/llama digest folder
  digest=$(cat "$source"/{package-lock.json,server.mjs} | sha256sum)
  folder=${XDG_CACHE_HOME:-$HOME/.cache}/fleetune/llama-${digest:0:12}
  if [[ ! -e $folder ]]; then llama_install "$source" "$folder"; fi
  printf '%s\n' "$folder"
}

# llama_install SOURCE FOLDER: beside it first, so that it is whole or not there.
# In a shell of its own, whose end takes what is not whole with it.
llama_install() (
  source=$1 folder=$2
  need_llama
  mkdir -p "${folder%/*}"
  part=$(mktemp -d "$folder.XXXXXX")
  trap 'rm -rf "$part"' EXIT
  trap 'exit 130' INT TERM
  say "installing llama.cpp's library (node-llama-cpp, 85 MB) into $folder"
  cp "$source"/{package.json,package-lock.json,server.mjs} "$part"
  # Versions and digests are the lock file's, no script of a package runs, and of
  # the prebuilt libraries one is fetched. (npm ci would insist on the others.)
  if ! (cd "$part" && npm install --ignore-scripts --omit=optional --no-audit --no-fund --loglevel=error >&2); then
    die "npm could not install the llama.cpp stand"
  fi
  # Another may have been faster.
  mv -T "$part" "$folder" 2>/dev/null || [[ -e $folder ]]
)

# llama_model prints the path of the model of random weights, made if missing.
llama_model() {
  local model=${XDG_CACHE_HOME:-$HOME/.cache}/fleetune/nonsense-1.gguf
  if [[ ! -e $model ]]; then
    mkdir -p "${model%/*}"
    (cd "$root/scripts/llama/nonsense" && GOWORK=off go run -buildvcs=false . "$model") >&2
  fi
  printf '%s\n' "$model"
}
