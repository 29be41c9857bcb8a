# Sourced by the other scripts: `ensure_venv FILE ...` makes .venv and installs the last of the requirements files into
# it (which includes the others), unless that was done for these very contents. An interrupted set-up is started over.

ensure_venv() {
    venv_is_current "$@" && return 0
    if command -v flock >/dev/null; then # two runs started at once: one sets up, the other waits
        exec 9>.venv.lock
        flock 9
        if venv_is_current "$@"; then
            exec 9>&-
            return 0
        fi
    fi
    local python last=${*: -1}
    python=$(find_python) || return 2
    if [ ! -x .venv/bin/python ] || [ -e .venv/.incomplete ] || ! ls .venv/.installed-* >/dev/null 2>&1; then
        echo "Making .venv with $("$python" --version) ..." >&2
        rm -rf .venv
        mkdir .venv
        touch .venv/.incomplete
        "$python" -m venv .venv
    fi
    touch .venv/.incomplete
    rm -f .venv/.installed-*
    echo "Installing $last (about 6 GB with torch's CUDA libraries; once only) ..." >&2
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$last" >&2 || {
        echo "error: the packages could not be installed (see above); run the command again" >&2
        return 2
    }
    cat "$@" >".venv/.installed-$last"
    rm .venv/.incomplete
    exec 9>&-
}

# What was installed is what is wanted, or starts with it: the tests' requirements serve training too.
venv_is_current() {
    [ -x .venv/bin/python ] && [ ! -e .venv/.incomplete ] || return 1
    local stamp wanted
    wanted=$(cat "$@")
    for stamp in .venv/.installed-*; do
        [[ -e $stamp && $(<"$stamp") == "$wanted"* ]] && return 0
    done
    return 1
}

find_python() {
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11 python; do
        if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return 0
        fi
    done
    echo "error: no Python 3.11 or newer with venv and pip found; install one and run the command again" >&2
    return 2
}
