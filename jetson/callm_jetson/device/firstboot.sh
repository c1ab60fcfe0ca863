#!/bin/sh
# The device's first start after it was flashed: user, host name, release, power mode. Every part can be repeated, so
# that a power cut in the middle only means another try at the next start.
set -eu
umask 022
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# shellcheck source=/dev/null
. /etc/callm-edge/firstboot.env
say() { echo "callm-edge first boot: $*"; }

if ! id "$USER_NAME" >/dev/null 2>&1; then
  say "creating the user $USER_NAME, who has a key and no password"
  useradd --create-home --shell /bin/bash "$USER_NAME"
fi
# No password is the right one; unlike a locked account, such a one may log in by key whatever sshd's settings.
usermod --password '*' "$USER_NAME"
for group in sudo adm video render audio i2c gpio dialout netdev; do
  if getent group "$group" >/dev/null; then usermod --append --groups "$group" "$USER_NAME"; fi
done
home=$(getent passwd "$USER_NAME" | cut -d: -f6)
install -d -m 700 -o "$USER_NAME" -g "$USER_NAME" "$home/.ssh"
install -m 600 -o "$USER_NAME" -g "$USER_NAME" /etc/callm-edge/authorized_keys "$home/.ssh/authorized_keys"

hostname "$HOST_NAME"
if ! grep -qs "[[:space:]]$HOST_NAME\$" /etc/hosts; then echo "127.0.1.1 $HOST_NAME" >>/etc/hosts; fi

if [ -n "${RELEASE:-}" ]; then
  agent=/usr/local/lib/callm-edge/agent.py
  say "installing $RELEASE"
  python3 "$agent" install "$RELEASE"
  python3 "$agent" engine "$RELEASE" || say "no TensorRT engine was built: stage 1 finds its way without"
  # Without a camera yet the service may not come up; the device is then reachable all the same, and says why.
  python3 "$agent" activate "$RELEASE" || say "the release is installed but not healthy: see journalctl -u callm-edge"
fi

touch /etc/callm-edge/firstboot.done
systemctl disable callm-edge-firstboot.service >/dev/null 2>&1 || true

if [ "${CLOCKS:-0}" = 1 ]; then
  systemctl enable callm-edge-clocks.service >/dev/null 2>&1 || true
fi
if [ -n "${POWER_MODE:-}" ] && command -v nvpmodel >/dev/null; then
  mode=$POWER_MODE
  case "$mode" in
    *[!0-9]*) mode=$(sed -n "s/^< *POWER_MODEL *ID=\([0-9]*\) *NAME=$POWER_MODE *>.*/\1/p" /etc/nvpmodel.conf | head -1) ;;
  esac
  if [ -n "$mode" ]; then
    # Last, because some modes start the board anew, and nvpmodel asks before it does.
    say "power mode $POWER_MODE ($mode)"
    echo yes | nvpmodel -m "$mode" || say "nvpmodel refused the mode $POWER_MODE"
  else
    say "this board has no power mode $POWER_MODE: see /etc/nvpmodel.conf"
  fi
fi
say "done"
