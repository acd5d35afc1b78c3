# Install all that gorgond needs on a Debian that has only git and python3. Sourced by tools/test and tools/up.
#
# Nothing is done twice: programs that are there are not installed, and an environment that has what setup.cfg requires is kept.
# shellcheck shell=bash

patience=900  # seconds that what fetches something may take, or somebody else who prepares the same
sign_of_life=10  # seconds: pip says nothing while it installs what it has collected
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=/usr/bin/python3  # Debian's, which the package runs on; whatever stands first on PATH may be a fifth slower

# packages NAME...: install these Debian packages, with sudo where we are not root.
packages() {
    local become=() script
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null; then
            printf '%s\n' "these Debian packages are missing: $*" "as root: apt-get install --no-install-recommends $*" \
                "then call this again" >&2
            exit 1
        fi
        become=(sudo)
    fi
    script="$(declare -f as_root_install); as_root_install \"\$@\""
    echo "installing $*" >&2
    timeout --foreground "$patience" "${become[@]}" bash -euc "$script" as_root_install "$@" >&2 </dev/null
}

as_root_install() {
    local policy=/usr/sbin/policy-rc.d
    export DEBIAN_FRONTEND=noninteractive
    # We start servers of our own: none of the system's is to be started now, nor at the next boot.
    if [ ! -e $policy ]; then
        trap "rm -f $policy" EXIT
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
    fi
    apt-get -qq -o DPkg::Lock::Timeout=300 update
    apt-get -qq -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@"
    for service in redis-server postgresql; do
        if [[ " $* " == *" $service "* ]] && command -v systemctl >/dev/null; then
            systemctl disable --quiet $service
        fi
    done
}

# requirements: what of setup.cfg an environment depends on.
requirements() {
    $python -c '
import configparser, sys
setup = configparser.ConfigParser(interpolation=None)
setup.read(sys.argv[1])
print(*(f"{name}{dict(setup[name])}" for name in ("options", "options.extras_require", "options.entry_points")))
' "$root/setup.cfg"
}

# stamps DIRECTORY PIP-ARGUMENTS...: the files $made and $with, which say that an environment is ready.
stamps() {
    directory=$root/$1; shift
    made=$directory/made-$( (echo "$root"; $python --version; requirements) | sha256sum | cut -c1-16)
    with=$directory/with-$(echo "$*" | sha256sum | cut -c1-16)
}

# alone WHAT: holds descriptor 9 alone from now on; who else prepares WHAT is waited for.
alone() {
    flock -w "$patience" 9 && return
    echo "somebody else has prepared $1 for $patience s: see who holds it, fuser -v" >&2
    exit 1
}

# environment DIRECTORY PIP-ARGUMENTS...: a virtual environment with these, made anew when other ones are required.
environment() {
    local directory made with
    stamps "$@"; shift
    (
        alone "$directory"
        [ -e "$with" ] && [ -e "$made" ] && exit
        SECONDS=0
        echo "preparing $directory, the first time for a minute or two" >&2
        # A sleep outlives who is ended beside it, and is not to keep open what others read to its end.
        while sleep "$sign_of_life" >&- 2>&-; do echo "  … $SECONDS s" >&2; done 9>&- &
        # shellcheck disable=SC2064
        trap "kill $!" EXIT
        [ -e "$made" ] || { rm -rf "$directory"; $python -m venv "$directory"; touch "$made"; }
        PYTHONUNBUFFERED=1 timeout "$patience" "$directory/bin/python" -m pip install --disable-pip-version-check \
            --progress-bar off "$@" |
            sed -un 's/^\(Collecting\|Installing\|Building\|Successfully\)\b/  &/p' >&2 || exit 1
        touch "$with"
        echo "$directory is ready" >&2
    ) 9>"$directory.lock"
}

# node_module NAME@VERSION: this module of npm's in the cache, for servers that tests talk to.
node_module() {
    local cache=$HOME/.cache/gorgond/node
    mkdir -p "$cache"
    (
        alone "$1"
        grep -qs "\"version\": \"${1##*@}\"" "$cache/node_modules/${1%@*}/package.json" && exit
        echo "preparing $1" >&2
        timeout "$patience" npm install --no-audit --no-fund --loglevel=error --prefix "$cache" "$1" >&2
    ) 9>"$cache.lock"
}

redis_drivers=(4.3.4 5.3.1 8.1.0)

# drivers: these versions of redis-py in the cache, each with hiredis in a directory of its own; tests/drivers.py uses
# them in place of the environment's.
drivers() {
    local version directory
    for version in "${redis_drivers[@]}"; do
        directory=$HOME/.cache/gorgond/redis-$version
        mkdir -p "$directory"
        (
            alone "$directory"
            [ -e "$directory/made" ] && exit
            echo "preparing redis-py $version" >&2
            timeout "$patience" "$root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check \
                --upgrade --target "$directory" "redis==$version" hiredis || exit 1
            touch "$directory/made"
        ) 9>"$directory.lock"
    done
}

missing=()
command -v redis-server >/dev/null || missing+=(redis-server)
$python -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
