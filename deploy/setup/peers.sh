#!/bin/sh
# Real peers of the demo and the tests, from the distribution's packages: installs what is missing, or says in one line what
# is. Arguments: the packages that are needed (default: all). None of their services is started, now or at the next boot.
# Exit 0: all there. Exit 2: an unknown package. Exit 3: something is missing and cannot be installed by this user on this system.
set -u
all="orthanc orthanc-dicomweb dcmtk dicom3tools libpixelmed-java default-jre-headless chromium poppler-utils procps openssl"
policy=/usr/sbin/policy-rc.d
mark="made by Interval's deploy/setup/peers.sh while it installs"

have() { command -v "$1" >/dev/null 2>&1; }

is_there() {
    case $1 in
    orthanc) have Orthanc || [ -x /usr/sbin/Orthanc ] ;;
    orthanc-dicomweb) [ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] ;;
    dcmtk) have storescu ;;
    dicom3tools) have dciodvfy ;;
    libpixelmed-java) [ -e /usr/share/java/pixelmed.jar ] ;;
    default-jre-headless) have java ;;
    chromium) have chromium ;;
    poppler-utils) have pdftoppm ;;
    procps) have ps ;;
    openssl) have openssl ;;
    *) echo "peers.sh: there is no peer $1; there are: $all" >&2 && exit 2 ;;
    esac
}

look_for() {
    missing=""
    for package in "$@"; do
        is_there "$package" || missing="$missing $package"
    done
}

fail() {
    echo "missing:$missing - $1" >&2
    exit 3
}

# Debian starts a service when its package is installed, unless this script forbids it. One of somebody else's stays as it is.
hold_services() {
    if [ -e "$policy" ] || [ -L "$policy" ]; then
        grep -qs "$mark" "$policy" || return 0
    fi
    trap '$as_root rm -f "$policy"' EXIT
    trap 'exit 3' HUP INT TERM
    printf '#!/bin/sh\n# %s\nexit 101\n' "$mark" | $as_root tee "$policy" >/dev/null && $as_root chmod 755 "$policy"
}

# shellcheck disable=SC2086 # the names are words
[ $# -gt 0 ] || set -- $all
look_for "$@"
[ -z "$missing" ] && exit 0

as_root=""
if [ "$(id -u)" != 0 ]; then
    if have sudo && sudo -n true 2>/dev/null; then as_root="sudo -n"; else
        fail "install them with your package manager (Debian: apt-get install$missing)"
    fi
fi
have apt-get || fail "no apt-get here; install them by other means"

echo "installing$missing" >&2
hold_services || fail "cannot keep their services from starting ($policy)"
# shellcheck disable=SC2086 # the names are words
$as_root apt-get update -qq >/dev/null &&
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
    fail "apt-get could not install them"
case " $missing " in
*" orthanc "*) have systemctl && $as_root systemctl disable orthanc >/dev/null 2>&1 ;;
esac
look_for "$@"
[ -z "$missing" ] || fail "installed, and still not found"
