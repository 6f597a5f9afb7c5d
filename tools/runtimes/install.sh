#!/bin/sh
# Install what the exported files are run in, beside the package's own environment. What cannot be had is said here and
# skipped by the tests with its reason: a closed registry is no failure, and nothing waits for one for long.
#   sh tools/runtimes/install.sh PYTHON VENV
set -u
python=$1
venv=$2
here=$(cd "$(dirname "$0")" && pwd)

attempt() { # attempt SECONDS WHAT COMMAND...
    seconds=$1 what=$2
    shift 2
    if timeout "$seconds" "$@" > /tmp/fgcam-runtimes.$$ 2>&1; then
        return 0
    fi
    echo "not installed: $what"
    tail -n 3 /tmp/fgcam-runtimes.$$
    return 1
}

wants=$here/requirements.txt
if ! cmp -s "$wants" "$venv/.installed"; then
    attempt 60 "an environment for OpenVINO" "$python" -m venv "$venv" &&
        attempt 240 OpenVINO "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --timeout 20 -r "$wants" &&
        cp "$wants" "$venv/.installed"
fi

for folder in "$here" "$here/../browser"; do
    if command -v npm > /dev/null; then
        cmp -s "$folder/package-lock.json" "$folder/node_modules/.installed" ||
            { attempt 240 "npm packages of $folder" npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund &&
                cp "$folder/package-lock.json" "$folder/node_modules/.installed"; }
    else
        echo "not installed: npm packages of $folder (Node.js is not here)"
    fi
done

if ! { command -v chromium || command -v chromium-browser || command -v google-chrome; } > /dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
        attempt 120 "Debian's package lists" apt-get update -qq &&
            DEBIAN_FRONTEND=noninteractive attempt 240 Chromium apt-get install -y -qq --no-install-recommends chromium
    else
        echo "not installed: Chromium (not root, or no apt-get)"
    fi
fi
rm -f /tmp/fgcam-runtimes.$$
exit 0
