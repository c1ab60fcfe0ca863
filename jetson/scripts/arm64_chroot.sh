#!/usr/bin/env bash
# The device install in an emulated arm64 system: what `deploy` does on a Jetson, without the Jetson.
#
#   sudo jetson/scripts/arm64_chroot.sh [FOLDER]
#
# Makes a minimal arm64 Debian in FOLDER, gathers a release for its Python here, installs it there with the very agent
# that `deploy` sends, offline, and runs the cascade on the plaza. Needs root, debootstrap and qemu-user-static, some
# minutes, and 2 GB. MIRROR and SUITE choose another Debian; PYTHON the interpreter that has callm-edge here.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:-$(mktemp -d /var/tmp/callm-arm64.XXXXXX)}
suite=${SUITE:-bookworm}
mirror=${MIRROR:-http://deb.debian.org/debian}
python=${PYTHON:-$top/.venv/bin/python}
handler=/proc/sys/fs/binfmt_misc

[ "$(id -u)" = 0 ] || { echo "Run it as root: debootstrap and chroot need that"; exit 1; }
for tool in debootstrap qemu-aarch64-static; do
  command -v "$tool" >/dev/null || { echo "Run: apt-get install debootstrap qemu-user-static"; exit 1; }
done

registered=
mounted=
clean_up() {
  for name in dev/null proc; do mountpoint -q "$folder/$name" && umount "$folder/$name"; done
  [ -z "$registered" ] || echo -1 >"$handler/callm-aarch64"
  [ -z "$mounted" ] || umount "$handler"
}
trap clean_up EXIT
[ -e "$handler/register" ] || { mount -t binfmt_misc binfmt_misc "$handler"; mounted=1; }
if ! grep -qs "interpreter .*qemu-aarch64" "$handler"/* 2>/dev/null; then
  # F: the interpreter is opened now, so that it need not lie in the chroot.
  printf '%s' ":callm-aarch64:M::\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00:\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff:$(command -v qemu-aarch64-static):F" >"$handler/register"
  registered=1
fi

if [ ! -x "$folder/usr/bin/python3" ]; then
  debootstrap --arch=arm64 --variant=minbase --include=python3 "$suite" "$folder" "$mirror" >"$folder.log" 2>&1 ||
    { tail -5 "$folder.log"; exit 1; }
fi
mountpoint -q "$folder/proc" || mount -t proc proc "$folder/proc"
mountpoint -q "$folder/dev/null" || { touch "$folder/dev/null"; mount --bind /dev/null "$folder/dev/null"; }

# With a host name of its own: the first boot sets one.
in_there() { unshare --uts chroot "$folder" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/root LC_ALL=C.UTF-8 "$@"; }
version=$(in_there python3 -c 'import platform; print(".".join(platform.python_version_tuple()[:2]), platform.libc_ver()[1])')
echo "== $(in_there uname -m), Python and glibc $version"

echo "== gathering the release here"
release=$("$python" - "$folder/opt/callm-edge/incoming" "$version" <<'PYTHON'
import sys, tempfile
from pathlib import Path
from callm_jetson.flash_plan import cache_folder
from callm_jetson.release import build_release, own_wheel
from callm_jetson.wheelhouse import Target

into, (python, glibc) = Path(sys.argv[1]), sys.argv[2].split()
target = Target(python, "aarch64", tuple(int(part) for part in glibc.split(".")))
print(build_release(into, target, own_wheel(cache_folder()), cache_folder(), bundle="plaza").id)
PYTHON
)
mkdir -p "$folder/usr/local/lib/callm-edge"
cp "$top/jetson/callm_jetson/device/agent.py" "$folder/usr/local/lib/callm-edge/agent.py"

echo "== installing $release there, offline"
time in_there python3 /usr/local/lib/callm-edge/agent.py install "$release"
callm="/opt/callm-edge/releases/$release/bin/callm-edge"
echo "== doctor"
in_there "$callm" doctor 2>/dev/null || true
echo "== run --source test:plaza"
time in_there "$callm" run --source 'test:plaza?seconds=2' --bundle "/opt/callm-edge/releases/$release/bundle" \
  --headless --json --store /var/tmp/events 2>/dev/null

echo "== first boot, as after a flash: user, key, host name (the release is installed already)"
# What flash lays into the root file system, with a stand-in for systemd, which does not run in a chroot.
printf '#!/bin/sh\n' >"$folder/usr/bin/systemctl"
chmod +x "$folder/usr/bin/systemctl"
"$python" - "$folder" <<'PYTHON'
import subprocess, sys
from pathlib import Path
from callm_jetson.seed import Seed

root = Path(sys.argv[1])
key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIpq0mUVkVPqiNVVE4YmM1r3QYk2yQ1Jw3r5Y9mO2zzz me@desk"
archive = root / "var/tmp/seed.tar"
Seed("gate-1", "edge", (key,)).write(archive)
options = ["--numeric-owner", "--same-permissions", "--keep-directory-symlink"]
subprocess.run(["tar", "--extract", *options, "--directory", root, "--file", archive], check=True)
PYTHON
in_there /usr/local/sbin/callm-edge-firstboot
in_there sh -c 'id edge; passwd --status edge; stat -c "%U %a %n" /home/edge/.ssh/authorized_keys /etc/callm-edge/firstboot.done'
