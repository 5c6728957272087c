# shellcheck shell=bash
# Builds Fleetune's programs. Needs say.sh and install.sh, and $root.

# The NVML bindings call all of NVML, what it deprecates too; the compiler says
# so at length. -O2 -g is go's default, which setting the variable takes away.
# Scripts call each other: twice would be other flags, and a build from scratch.
case ${CGO_CFLAGS:=-O2 -g} in
  *-Wno-deprecated-declarations*) ;;
  *) CGO_CFLAGS+=" -Wno-deprecated-declarations" ;;
esac
export CGO_CFLAGS

# bin_folder prints where programs are built to: ./bin, or the user's cache
# when the checkout belongs to somebody else.
bin_folder() {
  local folder=${FLEETUNE_BIN:-$root/bin}
  if ! mkdir -p "$folder" 2>/dev/null || [[ ! -w $folder ]]; then
    folder=${XDG_CACHE_HOME:-$HOME/.cache}/fleetune/bin
    mkdir -p "$folder"
  fi
  printf '%s\n' "$folder"
}

# build FOLDER MODULE/PACKAGE...: builds each program into FOLDER.
build() {
  local folder=$1 program stamp=() version
  shift
  need_go
  # In a checkout that git does not trust there is no revision to stamp.
  git -C "$root" status --porcelain >/dev/null 2>&1 || stamp=(-buildvcs=false)
  version=$(git -C "$root" describe --tags --always --dirty 2>/dev/null || printf dev)
  for program in "$@"; do
    say "building ${program##*/} into $folder"
    (cd "$root/${program%%/*}" && go build "${stamp[@]}" -ldflags "-X main.version=$version" -o "$folder/${program##*/}" "./${program#*/}") >&2
  done
}
