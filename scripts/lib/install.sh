# shellcheck shell=bash
# Installs what a machine lacks: a C compiler and the PostgreSQL programs. Go
# modules are downloaded by go itself. Needs say.sh.

# Go of the version that go.work asks for. An older go (1.21 on) fetches it.
need_go() {
  command -v go >/dev/null || die "Go is missing. Install it from https://go.dev/dl/ (go.work names the version) and run this again."
}

need_cc() {
  command -v cc >/dev/null && return
  install_packages "a C compiler" gcc libc6-dev
  command -v cc >/dev/null || die "no C compiler (cc) after installing gcc"
}

# A PostgreSQL whose programs Fleetune can start itself. The distribution's own
# server is neither used nor started.
need_postgres() {
  have_postgres && return
  if can_install; then
    # Keeps the package from making and starting a server of its own.
    install_packages "PostgreSQL's helper programs" postgresql-common
    as_root sed -ri 's/^#?(create_main_cluster).*$/\1 = false/' /etc/postgresql-common/createcluster.conf
  fi
  install_packages "PostgreSQL" postgresql
  have_postgres || die "no PostgreSQL programs (initdb, postgres) after installing postgresql"
}

have_postgres() {
  local folder
  for folder in "${FLEETUNE_POSTGRES_BIN:-/nonexistent}" /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/libexec/postgresql*; do
    [[ -x $folder/initdb && -x $folder/postgres ]] && return
  done
  command -v initdb >/dev/null && command -v postgres >/dev/null
}

# install_packages WHAT PACKAGE...: by apt-get where it may, else says how.
install_packages() {
  local what=$1
  shift
  if ! can_install; then
    say "$what is missing and cannot be installed from here. One of these does it:"
    say "  Debian, Ubuntu:  sudo apt-get install $*"
    say "  Fedora, RHEL:    sudo dnf install ${*//postgresql/postgresql-server}"
    say "  Alpine:          sudo apk add ${*//libc6-dev/musl-dev}"
    say "  Arch:            sudo pacman -S ${*//libc6-dev/}"
    say "  macOS:           brew install ${*//libc6-dev/}"
    exit 1
  fi
  say "installing $what: $* (apt-get)"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

can_install() {
  command -v apt-get >/dev/null || return 1
  [[ $EUID -eq 0 ]] || sudo -n true 2>/dev/null
}

as_root() {
  if [[ $EUID -eq 0 ]]; then "$@"; else sudo -n "$@"; fi
}
