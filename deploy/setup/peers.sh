#!/bin/sh
# Real peers of the demo and the tests, from the distribution's packages: installs what is missing, or says in one line what
# is. Exit 0: all there. Exit 3: something is missing and cannot be installed by this user on this system.
set -u
packages="orthanc orthanc-dicomweb dcmtk dicom3tools libpixelmed-java default-jre-headless chromium poppler-utils procps"

missing=""
have() { command -v "$1" >/dev/null 2>&1; }
have Orthanc || missing="$missing orthanc"
ls /usr/share/orthanc/plugins/libOrthancDicomWeb.so >/dev/null 2>&1 || missing="$missing orthanc-dicomweb"
have storescu || missing="$missing dcmtk"
have dciodvfy || missing="$missing dicom3tools"
ls /usr/share/java/pixelmed.jar >/dev/null 2>&1 || missing="$missing libpixelmed-java"
have java || missing="$missing default-jre-headless"
have chromium || missing="$missing chromium"
have pdftoppm || missing="$missing poppler-utils"
[ -z "$missing" ] && exit 0

as_root=""
if [ "$(id -u)" != 0 ]; then
    if have sudo && sudo -n true 2>/dev/null; then as_root="sudo -n"; else
        echo "missing:$missing - install them with your package manager (Debian: apt-get install$missing)" >&2
        exit 3
    fi
fi
if ! have apt-get; then
    echo "missing:$missing - no apt-get here; install them by other means" >&2
    exit 3
fi
echo "installing$missing" >&2
$as_root apt-get update -qq >/dev/null &&
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null || {
    echo "missing:$missing - apt-get could not install them" >&2
    exit 3
}
